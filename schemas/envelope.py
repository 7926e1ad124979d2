"""Bytes to commits and back: one decision is one message.

A commit holds the one to n events of a decision, hence it is atomic. ``prev`` chains the stored
bytes of a conversation's messages, so that a lost, altered or reordered one is found.
"""

import hashlib
from datetime import datetime

import msgspec

from schemas.events import CLASSES, ERASED, NAMES, Event
from schemas.upcasters import CURRENT, EventSealed, EventUnknown, upcast

EVENTS_HEADER = "Turnlog-Events"
"""Event types of a commit, comma-separated, for consumers that read headers only."""
OUTLINE_HEADER = "Turnlog-Outline"
"""`Outline` of the conversation after a commit, as JSON."""


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is written; ``data`` stays bytes until its type is known.

    Sealed ``data`` is a string, which only the conversation's key opens.
    """

    type: str
    version: int
    data: msgspec.Raw


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one decision; ``id`` is the command's, so that asked again it is stored once.

    ``prev`` is the SHA-256 of the conversation's previous message; none for its first. ``key`` is
    the id of the key that the data of its events are sealed with, if they are.
    """

    id: str
    conversation_id: str
    project: str
    at: datetime
    actor: str
    prev: str | None
    key: str | msgspec.UnsetType = msgspec.UNSET
    events: tuple[StoredEvent, ...]


class Outline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation in a few numbers, after a commit.

    ``items`` counts the positions of the line, deleted ones included; ``window`` is the sequence
    of the newest compaction in force: 0 without one, -1 if it is this commit's own; ``running``
    is the turn on the line; ``tokens`` the size of the next window without new input.
    """

    items: int = 0
    window: int = 0
    running: str | None = None
    deleted: bool = False
    tokens: int = 0


_ERASED = f'"type":"{ERASED}"'.encode()
_encode = msgspec.json.Encoder().encode
_decode_commit = msgspec.json.Decoder(Commit).decode
_decode_outline = msgspec.json.Decoder(Outline).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decoders = {name: msgspec.json.Decoder(kind).decode for name, kind in CLASSES.items()}


def encode(commit: Commit) -> bytes:
    """The bytes that are stored, and hashed into the next commit."""
    return _encode(commit)


def decode(payload: bytes) -> Commit:
    """A stored commit, its events still raw."""
    return _decode_commit(payload)


def pack(event: Event) -> StoredEvent:
    """``event`` at its current version."""
    name = NAMES[type(event)]
    return StoredEvent(type=name, version=CURRENT[name], data=msgspec.Raw(_encode(event)))


def unpack(stored: StoredEvent) -> Event:
    """The event at its current version; raises `EventUnknown` for what it cannot read.

    `EventSealed` is one that was not opened before.
    """
    current = CURRENT.get(stored.type)
    if current is None or not 1 <= stored.version <= current:
        raise EventUnknown(stored.type, stored.version)
    try:
        return _unpacked(stored, current)
    except msgspec.ValidationError:
        if is_sealed(stored):
            raise EventSealed(stored.type, stored.version) from None
        raise


def _unpacked(stored: StoredEvent, current: int) -> Event:
    if stored.version == current:
        event: Event = _decoders[stored.type](stored.data)
        return event
    data = upcast(stored.type, stored.version, _decode_fields(stored.data))
    upcasted: Event = _decoders[stored.type](_encode(data))
    return upcasted


def is_sealed(stored: StoredEvent) -> bool:
    """Whether an event's content is ciphertext."""
    return bytes(stored.data).startswith(b'"')


def erases(payload: bytes) -> bool:
    """Whether a stored commit is the one that erased its conversation."""
    if _ERASED not in payload:
        return False
    return decode(payload).events[0].type == ERASED


def trail_line(sequence: int, digest: str) -> bytes:
    """What a commit adds to `ConversationErased.trail`."""
    return f"{sequence} {digest}\n".encode()


def digest(payload: bytes) -> str:
    """What the next commit carries as ``prev``."""
    return hashlib.sha256(payload).hexdigest()


def headers(commit: Commit, outline: Outline) -> dict[str, str]:
    """What consumers can read without the payload."""
    return {
        EVENTS_HEADER: ",".join(event.type for event in commit.events),
        OUTLINE_HEADER: _encode(outline).decode(),
    }


def read_outline(header: str) -> Outline:
    """The outline a commit was stored with."""
    return _decode_outline(header)
