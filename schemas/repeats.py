"""The mark of a request that a client may send again (stream REPEATS)."""

import msgspec


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of what a request came to.

    ``id`` is that of the command, or of the response; ``conversation_id`` leads to it.
    """

    id: str
    conversation_id: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Mark).decode


def encode(mark: Mark) -> bytes:
    """The message's bytes."""
    return _encode(mark)


def decode(payload: bytes) -> Mark:
    """The mark in a message."""
    return _decode(payload)
