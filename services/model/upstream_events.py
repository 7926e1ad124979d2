"""Events and items of an upstream's Responses API: known, well formed and complete (pure).

What the contract promises clients and some upstreams leave out is filled in: the lists of an
``output_text``, the field an item grows by, ``logprobs``. What cannot be filled in is refused.
"""

from typing import Any

import msgspec

from schemas.http import checks, event_types
from schemas.http.checks import Fields
from services.model.refusals import words

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(Fields).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Failure(msgspec.Struct, frozen=True):
    """Why the upstream failed, in its words."""

    code: str | None
    message: str | None


class End(msgspec.Struct, frozen=True):
    """A terminal event, which carries the whole response."""

    response: msgspec.Raw


class Dropped(msgspec.Struct, frozen=True):
    """An event of a type the contract does not know."""

    type: str


class Beginning(msgspec.Struct, frozen=True):
    """An event about the upstream's own response, of which clients see ours."""


class _Error(msgspec.Struct, frozen=True):
    code: Any = None
    message: Any = None
    error: Any = None


class _Between(msgspec.Struct, frozen=True, kw_only=True):
    item_id: str | None = ""
    logprobs: list[msgspec.Raw] | None = []


class _Typed(msgspec.Struct, frozen=True):
    type: str


class _Unknown(msgspec.Struct, frozen=True):
    type: Any = None
    error: Any = None


_KINDS: dict[str, Any] = {
    "item_id": str,
    "logprobs": list[msgspec.Raw],
    "output_index": int,
    "content_index": int,
    "summary_index": int,
    "command_index": int,
    "annotation_index": int,
    "partial_image_index": int,
    "item": _Typed,
    "part": _Typed,
    "annotation": _Typed | None,
    "output": list[Fields],
}
"""What fields hold; the others hold text."""

_FILLED = {"item_id": msgspec.Raw(b'""'), "logprobs": msgspec.Raw(b"[]")}
"""Fields of events an upstream may leave out. Ids of items are ours anyway."""

_TEXT = {
    "annotations": msgspec.Raw(b"[]"),
    "logprobs": msgspec.Raw(b"[]"),
    "text": msgspec.Raw(b'""'),
}
"""What every ``output_text`` holds (contract 2)."""


def _class(name: str, kind: event_types.EventType) -> type[msgspec.Struct]:
    kinds = dict(_KINDS)
    if name == "response.shell_call_output_content.delta":
        kinds["delta"] = Fields
    fields: list[Any] = [
        (field, kinds[field] | None, None) if field in _FILLED else (field, kinds.get(field, str))
        for field in kind.fields
    ]
    return msgspec.defstruct(name, fields, bases=(_Between,), tag=name, frozen=True, kw_only=True)


_CLASSES: list[Any] = [
    *(_class(name, kind) for name, kind in event_types.TYPES.items()),
    *(
        msgspec.defstruct(name, [], bases=(Beginning,), tag=name, frozen=True)
        for name in event_types.BEGINNINGS
    ),
    *(
        msgspec.defstruct(name, [], bases=(End,), tag=name, frozen=True)
        for name in event_types.TERMINAL
    ),
    msgspec.defstruct("_error", [], bases=(_Error,), tag=event_types.ERROR, frozen=True),
]
_union: Any = _CLASSES[0]
for _each in _CLASSES[1:]:
    _union |= _each
_decode = msgspec.json.Decoder(_union).decode
_typed = msgspec.json.Decoder(_Typed).decode
_unknown = msgspec.json.Decoder(_Unknown).decode

_KNOWN = frozenset(
    {*event_types.TYPES, *event_types.BEGINNINGS, *event_types.TERMINAL, event_types.ERROR}
)


def read(data: str) -> Fields | End | Failure | Beginning | Dropped:
    """One event; raises `msgspec.MsgspecError` for one that is known and not well formed."""
    try:
        event = _decode(data)
    except msgspec.ValidationError:
        return _odd(data)
    if not isinstance(event, _Between):
        return _failure(event) if isinstance(event, _Error) else event
    fields = _fields(data)
    if event.item_id is None or event.logprobs is None or "sequence_number" not in fields:
        fields = _filled(fields)
    if "item" in fields:
        fields["item"] = item(fields["item"])
    elif "part" in fields:
        fields["part"] = _part(fields["part"])
    return fields


def _odd(data: str) -> Failure | Dropped:
    """An event that is none of the known ones; raises what is wrong with it if it is."""
    odd = _unknown(data)
    if odd.type is None and odd.error is not None:
        # Some servers say what went wrong and not even that this is an error.
        return _failure(_Error(error=odd.error))
    if isinstance(odd.type, str) and odd.type in _KNOWN:
        _decode(data)
    return Dropped(str(odd.type))


def _failure(event: _Error) -> Failure:
    """Flat or nested (contract 3.5)."""
    inner = event.error if isinstance(event.error, dict) else {}
    said = event.error if isinstance(event.error, str) else None
    return Failure(
        code=words(inner.get("code")) or words(event.code),
        message=words(inner.get("message")) or words(event.message) or said,
    )


def _filled(fields: Fields) -> Fields:
    """An event with what it lacks, its keys in the contract's order: type, then the alphabet."""
    kind = event_types.TYPES[checks.plain(fields["type"])]
    lacking = {name for name in kind.fields if name in _FILLED and checks.is_null(fields.get(name))}
    fields |= {name: _FILLED[name] for name in lacking}
    # The number is the client's, and put in by whoever counts for it.
    fields["sequence_number"] = checks.NULL
    return {"type": fields.pop("type"), **dict(sorted(fields.items()))}


def item(raw: msgspec.Raw) -> msgspec.Raw:
    """An item of an answer with what it lacks; raises what is wrong with it."""
    kind = _typed(raw).type
    if kind not in event_types.GROWING:
        return raw
    fields = _fields(raw)
    name, empty = event_types.GROWING[kind]
    if checks.is_null(fields.get(name)):
        return msgspec.Raw(_encode({**fields, name: empty}))
    if kind != "message":
        return raw
    given = _list(fields[name])
    parts = [_part(part) for part in given]
    if all(one is other for one, other in zip(given, parts, strict=True)):
        return raw
    return msgspec.Raw(_encode({**fields, name: parts}))


def _part(raw: msgspec.Raw) -> msgspec.Raw:
    if _typed(raw).type != "output_text":
        return raw
    fields = _fields(raw)
    lacking = {name: value for name, value in _TEXT.items() if checks.is_null(fields.get(name))}
    if not lacking:
        return raw
    fields |= lacking
    return msgspec.Raw(_encode({"type": fields.pop("type"), **dict(sorted(fields.items()))}))
