"""What the pieces of an item's events add up to, before its end has come (pure).

Pieces are kept as they came and put together only when asked for. Texts are never decoded: the
insides of JSON strings are joined as bytes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from schemas.http.checks import Fields

Piece = tuple[str, msgspec.Raw | None, msgspec.Raw]
"""Name of an event, index of what it adds to, and what it adds."""

_Heard = dict[str, dict[int, list[msgspec.Raw]]]

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(Fields).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_index = msgspec.json.Decoder(int).decode

_WHOLE = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
    "code_interpreter_call": ("code", "response.code_interpreter_call_code"),
}
"""Types of which one field grows, and the events it grows by."""

_CONTENT = {
    "response.output_text": ("output_text", "text"),
    "response.refusal": ("refusal", "refusal"),
    "response.reasoning_text": ("reasoning_text", "text"),
}
_SUMMARY = {"response.reasoning_summary_text": ("summary_text", "text")}
"""Events that part texts grow by: the type of the part, and its field."""


def grown(kind: str, first: Fields, pieces: Iterable[Piece]) -> Fields:
    """Fields of an item of this type that its pieces add; none as long as they are empty.

    Of the types whose progress says no content there are none, nor of shell output that has not
    ended: how it ends is part of it.
    """
    heard = _sorted(pieces)
    match kind:
        case "message":
            return _field("content", _parts(heard, "response.content_part", _CONTENT))
        case "reasoning":
            return {
                **_field("summary", _parts(heard, "response.reasoning_summary_part", _SUMMARY)),
                **_field("content", _parts(heard, "response.content_part", _CONTENT)),
            }
        case "shell_call":
            commands = [text for text in _texts(heard["response.shell_call_command"]) if text]
            action = _fields(first["action"]) if "action" in first else {}
            return _field("action", action | _field("commands", commands) if commands else {})
        case "shell_call_output":
            told = heard["response.shell_call_output_content"]
            return _field("output", [each for at in sorted(told) for each in _list(told[at][-1])])
        case _ if kind in _WHOLE:
            field, events = _WHOLE[kind]
            text = next(_texts(heard[events]), None)
            return {field: text} if text else {}
        case _:
            return {}


def _sorted(pieces: Iterable[Piece]) -> _Heard:
    """Pieces by what they are of, and by their index in it; a whole replaces its deltas."""
    heard: _Heard = defaultdict(lambda: defaultdict(list))
    for name, place, piece in pieces:
        of, _, step = name.rpartition(".")
        at = 0 if place is None else _index(place)
        if step == "delta" or of.endswith(".annotation"):
            heard[of][at].append(piece)
        elif of.endswith("_part"):
            heard[name][at] = [piece]
        else:
            heard[of][at] = [piece]
    return heard


def _field(name: str, value: object) -> Fields:
    return {name: msgspec.Raw(_encode(value))} if value else {}


def _texts(told: dict[int, list[msgspec.Raw]]) -> Iterator[msgspec.Raw | None]:
    """Each text in its order; nothing for an empty one."""
    for at in sorted(told):
        inside = b"".join(bytes(piece)[1:-1] for piece in told[at])
        yield msgspec.Raw(b'"%b"' % inside) if inside else None


def _parts(heard: _Heard, part: str, kinds: dict[str, tuple[str, str]]) -> list[Fields]:
    """Parts that hold something, in their order."""
    places = {at for name in (f"{part}.added", f"{part}.done", *kinds) for at in heard[name]}
    parts = [_part_at(at, heard, part, kinds) for at in sorted(places)]
    return [fields for fields in parts if any(_says(fields, field) for _, field in kinds.values())]


def _part_at(at: int, heard: _Heard, part: str, kinds: dict[str, tuple[str, str]]) -> Fields:
    if done := heard[f"{part}.done"][at]:
        return _fields(done[-1])
    added = heard[f"{part}.added"][at]
    fields = _fields(added[-1]) if added else {}
    for name, (kind, field) in kinds.items():
        for text in _texts({at: heard[name][at]}):
            if text:
                fields = {"type": msgspec.Raw(_encode(kind)), **fields, field: text}
    return fields | _field("annotations", heard["response.output_text.annotation"][at])


def _says(fields: Fields, field: str) -> bool:
    return field in fields and bytes(fields[field]) not in {b'""', b"null"}
