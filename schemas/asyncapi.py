"""The AsyncAPI 3.0 document of what is said on NATS and WebSockets, from `schemas.channels`.

Bodies and items of the HTTP contract are referred to in the OpenAPI document beside it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

import msgspec

from schemas import openapi, shapes
from schemas.channel import Channel, Message
from schemas.channels import CHANNELS, PARAMETERS, http
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


_OPEN: dict[str, Shape] = {
    "item": http("Item"),
    "items": shapes.array(http("Item")),
    "parameters": shapes.described(
        shapes.OBJECT, "The request's body without its input and state, as the client wrote it."
    ),
    "rows": shapes.array(shapes.array(shapes.ANY)),
    "usage": http("Usage"),
}
"""What the fields are that structs leave open."""
_BODIES: dict[type[msgspec.Struct], Shape] = {
    TurnRequest: http("CreateResponseRequest"),
    Compact: http("CompactRequest"),
    CompactAnswer: shapes.any_of(http("CompactedResponse"), http("ErrorBody")),
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
        "servers": {
            "nats": {"host": "127.0.0.1:4222", "protocol": "nats"},
            "gateway": {"host": "127.0.0.1:8080", "protocol": "ws"},
        },
        "channels": {
            key: value
            for name, channel in CHANNELS.items()
            for key, value in _channels(name, channel).items()
        },
        "operations": {
            key: value
            for name, channel in CHANNELS.items()
            for key, value in _operations(name, channel).items()
        },
        "components": {
            "messages": {row.name: _message(row) for row, _ in _rows()},
            "schemas": _schemas(),
        },
    }


def whole(*, version: str) -> Shape:
    """The document with all it refers to inside, for whoever has no other beside it."""
    written = document(version=version)
    own = written["components"]["schemas"]
    theirs = openapi.document(version=version, server="/")["components"]["schemas"]
    names = {
        name: f"Http{name}" if own.get(name, shape) != shape else name
        for name, shape in theirs.items()
    }
    taken: dict[str, Shape] = {}
    waiting = _named(written, after=_HTTP)
    while waiting:
        name = waiting.pop()
        if names[name] not in taken:
            waiting |= _named(theirs[name], after=shapes.COMPONENTS)
            taken[names[name]] = _renamed(theirs[name], names, after=shapes.COMPONENTS)
    joined: Shape = _renamed(written, names, after=_HTTP)
    joined["components"]["schemas"] = dict(
        sorted({**joined["components"]["schemas"], **taken}.items())
    )
    return joined


_HTTP = openapi.FILE + shapes.COMPONENTS


def _named(node: object, *, after: str) -> set[str]:
    """Names that are referred to, behind ``after``, anywhere in a shape."""
    match node:
        case {"$ref": str(reference)} if reference.startswith(after):
            return {reference.removeprefix(after)}
        case dict():
            return set[str]().union(*(_named(value, after=after) for value in node.values()))
        case list() | tuple():
            return set[str]().union(*(_named(each, after=after) for each in node))
        case _:
            return set()


def _renamed(node: Any, names: Mapping[str, str], *, after: str) -> Any:
    """A shape that refers to the same by other names, which are of this document."""
    match node:
        case {"$ref": str(reference)} if reference.startswith(after):
            return shapes.ref(names[reference.removeprefix(after)])
        case dict():
            # What tells shapes apart has another form in OpenAPI.
            kept = {name: value for name, value in node.items() if name != "discriminator"}
            return {name: _renamed(value, names, after=after) for name, value in kept.items()}
        case list() | tuple():
            return [_renamed(each, names, after=after) for each in node]
        case _:
            return node


def _channels(name: str, channel: Channel) -> dict[str, Shape]:
    described: Shape = {
        "address": channel.address,
        "description": channel.says,
        "servers": [{"$ref": f"#/servers/{channel.server}"}],
        "messages": _references((*channel.messages, *channel.back)),
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


def _operations(name: str, channel: Channel) -> dict[str, Shape]:
    asked: Shape = _operation(name, channel, channel.does, channel.messages)
    if channel.queue:
        asked["bindings"] = {"nats": {"queue": channel.queue, "bindingVersion": "0.1.0"}}
    if channel.reply is not None:
        asked["reply"] = {"channel": {"$ref": f"#/channels/{name}_reply"}}
    operations = {f"{channel.does}_{name}": asked}
    if channel.back:
        other = "send" if channel.does == "receive" else "receive"
        operations[f"{other}_{name}"] = _operation(name, channel, other, channel.back)
    return operations


def _operation(name: str, channel: Channel, action: str, rows: Iterable[Message]) -> Shape:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": channel.says,
        "messages": [{"$ref": f"#/channels/{name}/messages/{row.name}"} for row in rows],
    }


def _rows() -> Iterator[tuple[Message, bool]]:
    """Every message, and whether Turnlog is the one who sends it."""
    for channel in CHANNELS.values():
        for row in channel.messages:
            yield row, channel.does == "send"
        for row in channel.back:
            yield row, channel.does != "send"
        if channel.reply is not None:
            yield channel.reply, True


def _schemas() -> dict[str, Shape]:
    kinds: dict[type[msgspec.Struct], bool] = dict.fromkeys((Outline, *CLASSES.values()), True)
    kinds |= {row.payload: sent for row, sent in _rows() if _is_struct(row.payload)}
    own: dict[str, Shape] = {}
    inside: dict[str, Shape] = {}
    for kind, sent in kinds.items():
        fields = msgspec.structs.fields(kind)
        open_ = {**_OPEN, "body": _BODIES.get(kind, shapes.ANY)}
        known = {each.name: open_[each.name] for each in fields if each.type in _OPEN_TYPES}
        # What is sent leaves out only what it is told to leave out.
        whole = sent and not kind.__struct_config__.omit_defaults
        found = shapes.struct(kind, known, whole=whole)
        own[kind.__name__] = found.pop(kind.__name__)
        inside |= found
    described = {**inside, **own}
    described["StoredEvent"] = {
        "description": "An event of a commit, at the version written today.",
        "oneOf": [_stored(name, kind) for name, kind in CLASSES.items()],
    }
    return dict(sorted(described.items()))


def _stored(name: str, kind: type[msgspec.Struct]) -> Shape:
    fields = {
        "type": shapes.exactly(name),
        "version": {"type": "integer", "const": CURRENT[name]},
        "data": shapes.ref(kind.__name__),
    }
    return shapes.record(fields, required=fields)
