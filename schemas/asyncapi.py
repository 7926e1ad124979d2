"""The AsyncAPI 3.0 document of everything that crosses NATS, from the rows of `schemas.channels`.

Bodies and items of the HTTP contract are referred to in the OpenAPI document beside it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeGuard

import msgspec

from schemas import openapi, shapes
from schemas.channels import CHANNELS, PARAMETERS, Channel, Message
from schemas.envelope import Outline
from schemas.events import CLASSES
from schemas.queries import Compact, CompactAnswer
from schemas.shapes import Shape
from schemas.turn_requests import TurnRequest
from schemas.upcasters import CURRENT

FILE = "asyncapi.yaml"

_INFO = (
    "Turnlog's inside, open to backends beside it: ask for a turn on the queue, hear its answer, "
    "follow every commit, ask the views in SQL. Bodies and items are those of the HTTP contract "
    f"(`{openapi.FILE}`). The server's URL, with its token, is in `<data-dir>/nats-url`."
)


def _http(name: str) -> Shape:
    """A shape of the HTTP contract."""
    return {"$ref": f"{openapi.FILE}{shapes.COMPONENTS}{name}"}


_OPEN: dict[str, Shape] = {
    "item": _http("Item"),
    "items": shapes.array(_http("Item")),
    "parameters": shapes.described(
        shapes.OBJECT, "The request's body without its input and state, as the client wrote it."
    ),
    "rows": shapes.array(shapes.array(shapes.ANY)),
    "usage": _http("Usage"),
}
"""What the fields are that structs leave open."""
_BODIES: dict[type[msgspec.Struct], Shape] = {
    TurnRequest: _http("CreateResponseRequest"),
    Compact: _http("CompactRequest"),
    CompactAnswer: shapes.any_of(_http("CompactedResponse"), _http("ErrorBody")),
}
"""What the field ``body`` is."""

_OPEN_TYPES = {msgspec.Raw, tuple[msgspec.Raw, ...], tuple[tuple[object, ...], ...]}


def document(*, version: str) -> Shape:
    """The document, as plain data."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Turnlog",
            "version": version,
            "description": _INFO,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"embedded": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": {
            key: value
            for name, channel in CHANNELS.items()
            for key, value in _channels(name, channel).items()
        },
        "operations": {
            f"{channel.does}_{name}": _operation(name, channel)
            for name, channel in CHANNELS.items()
        },
        "components": {
            "messages": {row.name: _message(row) for row, _ in _rows()},
            "schemas": _schemas(),
        },
    }


def _channels(name: str, channel: Channel) -> dict[str, Shape]:
    described: Shape = {
        "address": channel.address,
        "description": channel.says,
        "messages": _references(channel.messages),
    }
    if channel.stream:
        described["x-stream"] = channel.stream
    if parameters := re.findall(r"{(\w+)}", channel.address):
        described["parameters"] = {each: {"description": PARAMETERS[each]} for each in parameters}
    if channel.reply is None:
        return {name: described}
    inbox = {"address": None, "messages": _references((channel.reply,))}
    return {name: described, f"{name}_reply": inbox}


def _references(rows: Iterable[Message]) -> Shape:
    return {row.name: {"$ref": f"#/components/messages/{row.name}"} for row in rows}


def _message(row: Message) -> Shape:
    described: Shape = {
        "name": row.name,
        "summary": row.says,
        "contentType": row.content_type,
    }
    if row.headers or row.optional:
        fields = {**row.headers, **row.optional}
        described["headers"] = shapes.record(fields, required=row.headers)
    payload = row.payload
    described["payload"] = shapes.ref(payload.__name__) if _is_struct(payload) else payload
    return described


def _is_struct(payload: type[msgspec.Struct] | Shape) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(payload, type)


def _operation(name: str, channel: Channel) -> Shape:
    described: Shape = {
        "action": channel.does,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": channel.says,
    }
    if channel.queue:
        described["bindings"] = {"nats": {"queue": channel.queue, "bindingVersion": "0.1.0"}}
    if channel.reply is not None:
        described["reply"] = {"channel": {"$ref": f"#/channels/{name}_reply"}}
    return described


def _rows() -> Iterator[tuple[Message, bool]]:
    """Every message, and whether Turnlog is the one who sends it."""
    for channel in CHANNELS.values():
        for row in channel.messages:
            yield row, channel.does == "send"
        if channel.reply is not None:
            yield channel.reply, True


def _schemas() -> dict[str, Shape]:
    kinds: dict[type[msgspec.Struct], bool] = dict.fromkeys((Outline, *CLASSES.values()), True)
    kinds |= {row.payload: sent for row, sent in _rows() if _is_struct(row.payload)}
    found: dict[str, Shape] = {}
    for kind, sent in kinds.items():
        fields = msgspec.structs.fields(kind)
        open_ = {**_OPEN, "body": _BODIES.get(kind, shapes.ANY)}
        known = {each.name: open_[each.name] for each in fields if each.type in _OPEN_TYPES}
        # What is sent leaves out only what it is told to leave out.
        whole = sent and not kind.__struct_config__.omit_defaults
        found |= shapes.struct(kind, known, whole=whole)
    found["StoredEvent"] = {
        "description": "An event of a commit, at the version written today.",
        "oneOf": [_stored(name, kind) for name, kind in CLASSES.items()],
    }
    return dict(sorted(found.items()))


def _stored(name: str, kind: type[msgspec.Struct]) -> Shape:
    fields = {
        "type": shapes.exactly(name),
        "version": {"type": "integer", "const": CURRENT[name]},
        "data": shapes.ref(kind.__name__),
    }
    return shapes.record(fields, required=fields)
