"""Keys that content is encrypted with, as they are stored (stream ENCRYPTION_KEYS)."""

import msgspec


class WrappedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key: its id, the id of the one that wraps it, and what only that one opens."""

    id: str
    under: str
    wrapped: bytes


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WrappedKey).decode


def encode(key: WrappedKey) -> bytes:
    """The message's bytes."""
    return _encode(key)


def decode(payload: bytes) -> WrappedKey:
    """The key in a message."""
    return _decode(payload)
