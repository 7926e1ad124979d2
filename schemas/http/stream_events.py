"""Server-sent events of a streamed response (contract 3): framing and lifecycle events."""

import msgspec

_encode = msgspec.json.Encoder().encode


class Lifecycle(msgspec.Struct, frozen=True):
    """An event that carries the whole response."""

    type: str
    response: msgspec.Raw
    sequence_number: int


_decode_lifecycle = msgspec.json.Decoder(Lifecycle).decode


def frame(name: str, data: bytes) -> bytes:
    """One event on the wire: no ``id:`` or ``retry:`` line, ever (contract 3.1)."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def lifecycle(name: str, response: bytes, sequence_number: int) -> bytes:
    """The frame of ``response.created`` and its kind."""
    return frame(name, _encode(Lifecycle(name, msgspec.Raw(response), sequence_number)))


def count(payload: bytes) -> int:
    """How many events are framed in a payload."""
    return payload.count(b"\ndata: ")


def response_in(payload: bytes) -> bytes:
    """The response object inside a terminal frame, as its bytes."""
    _, data = payload.split(b"\ndata: ", 1)
    return bytes(_decode_lifecycle(data).response)
