"""One output item as the client is told it, from its first event to its last (pure)."""

from typing import NoReturn

import msgspec

from schemas.http.checks import Fields
from schemas.http.event_types import GROWING, EventType
from services.model import ModelUnavailable
from services.responder.pieces import Piece, grown

INCOMPLETE = "incomplete"
_PART_ADDED = "response.content_part.added"

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(Fields).decode
_index = msgspec.json.Decoder(int).decode

_NEVER_INCOMPLETE = frozenset(
    {"apply_patch_call", "apply_patch_call_output", "image_generation_call"}
)
"""Types that have a status, but not this one (contract 2)."""

_CALLS = frozenset({"function_call", "custom_tool_call", "shell_call", "shell_call_output"})
"""Types the SDK tells apart by ``call_id`` (contract 3.6)."""


class Written(msgspec.Struct, frozen=True):
    """What tells an item a model wrote from its others, in the model's own words."""

    type: str
    id: str | None = None
    call_id: str | None = None

    @property
    def call(self) -> tuple[str, str | None] | None:
        """What the SDK knows it by, where that is not its id."""
        return (self.type, self.call_id) if self.type in _CALLS else None


class _Part(msgspec.Struct, frozen=True):
    type: str


class _Content(msgspec.Struct, frozen=True):
    content: tuple[_Part, ...] = ()


written = msgspec.json.Decoder(Written).decode
_part = msgspec.json.Decoder(_Part).decode
_content = msgspec.json.Decoder(_Content).decode


def unreadable(why: str) -> NoReturn:
    """End a stream that no client could follow."""
    raise ModelUnavailable(f"The model's answer could not be read: {why}.")


def beginning(raw: msgspec.Raw, kind: str) -> msgspec.Raw:
    """How a finished item would have begun."""
    fields = _fields(raw)
    if kind in GROWING:
        name, empty = GROWING[kind]
        fields[name] = empty
    if "status" in fields and not kind.endswith("_output"):
        fields["status"] = msgspec.Raw(b'"in_progress"')
    return msgspec.Raw(_encode(fields))


class ToldItem:
    """What the client has heard of an item; ``done`` is its last form, once that was told."""

    def __init__(self, item_id: str, said: Written, raw: msgspec.Raw) -> None:
        """``said`` is how the model wrote it, ``raw`` its first form under our id."""
        self.id = msgspec.Raw(_encode(item_id))
        self.said = said
        self.done: msgspec.Raw | None = None
        self._first = raw
        self._parts: list[str] = []
        if said.type == "message":
            self._parts += [part.type for part in _content(raw).content]
        self._pieces: list[Piece] = []

    def take(self, name: str, kind: EventType, event: Fields) -> None:
        """Hear an event about it; one that would break the SDK's state is unreadable."""
        if kind.item is not None and kind.item != self.said.type:
            unreadable(f"{name} for an item of another type")
        if kind.piece is None:
            return
        place = None if kind.place is None else event[kind.place]
        if place is not None and self.said.type == "message":
            at, parts = _index(place), self._parts
            if name == _PART_ADDED:
                if at != len(parts):
                    unreadable("a part was added out of its order")
                parts.append(_part(event["part"]).type)
            elif not 0 <= at < len(parts) or kind.part not in (None, parts[at]):
                unreadable(f"{name} before its part was added")
        if self.done is None:
            self._pieces.append((name, place, event[kind.piece]))

    def end(self, said: Written, raw: msgspec.Raw) -> None:
        """Hear its last form; it must still be the same item."""
        if (said.type, said.call_id) != (self.said.type, self.said.call_id):
            unreadable("an item changed its identity")
        self.done = raw
        self._pieces.clear()

    def heard(self) -> msgspec.Raw | None:
        """Its last form, or what it holds so far as ``incomplete``; nothing if that is nothing."""
        if self.done is not None:
            return self.done
        fields = _fields(self._first)
        added = grown(self.said.type, fields, self._pieces)
        return _as(fields | added, INCOMPLETE) if added else None

    def ended_as(self, status: str) -> msgspec.Raw:
        """Its last form if the model tells none: what it holds, under the answer's status."""
        fields = _fields(self._first)
        fields |= grown(self.said.type, fields, self._pieces)
        if "status" in fields and (status != INCOMPLETE or self.said.type not in _NEVER_INCOMPLETE):
            return _as(fields, status)
        return msgspec.Raw(_encode(fields))


def _as(fields: Fields, status: str) -> msgspec.Raw:
    return msgspec.Raw(_encode({**fields, "status": status}))
