"""Server-sent events of a streamed response (contract 3): framing and lifecycle events."""

from collections.abc import Callable

import msgspec

from schemas.http.checks import NULL, Fields, first_byte

OBFUSCATED_LENGTH = 16
"""Text and obfuscation of a delta together are a multiple of this many characters."""

_LINE_ENDS = b"\n\r"
_LF, _CR = _LINE_ENDS
"""Single bytes as numbers, which is how they are found fastest."""

_encode = msgspec.json.Encoder().encode


class Lifecycle(msgspec.Struct, frozen=True):
    """An event that carries the whole response."""

    type: str
    response: msgspec.Raw
    sequence_number: int


_fields = msgspec.json.Decoder(Fields).decode
_text = msgspec.json.Decoder(str).decode
_decode_lifecycle = msgspec.json.Decoder(Lifecycle).decode


def frame(name: str, data: bytes) -> bytes:
    """One event on the wire: no ``id:`` or ``retry:`` line, ever (contract 3.1)."""
    if _LF in data or _CR in data:
        # Bytes are carried through as a client or an upstream wrote them, perhaps over several
        # lines. Strings hold no raw line ends, and what stands between values may go.
        data = data.translate(None, _LINE_ENDS)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def lifecycle(name: str, response: bytes, sequence_number: int) -> bytes:
    """The frame of ``response.created`` and its kind."""
    return frame(name, _encode(Lifecycle(name, msgspec.Raw(response), sequence_number)))


def error(message: str, *, number: int, code: str = "server_error") -> bytes:
    """The frame that tells why a stream ends here, though its turn has not (contract 3.4)."""
    fields = {
        "type": "error",
        "code": code,
        "message": message,
        "param": None,
        "sequence_number": number,
    }
    return frame("error", _encode(fields))


def terminal(status: str, response: bytes, sequence_number: int) -> bytes:
    """The frame a stream ends with; there is none for ``cancelled``, which ends as failed."""
    name = status if status in {"completed", "incomplete"} else "failed"
    return lifecycle(f"response.{name}", response, sequence_number)


def count(payload: bytes) -> int:
    """How many events are framed in a payload."""
    return payload.count(b"\ndata: ")


def frames(payload: bytes) -> list[bytes]:
    """The single events of a payload; JSON holds no line end, so blank lines part them."""
    return [part + b"\n\n" for part in payload.split(b"\n\n") if part]


def data(one: bytes) -> bytes:
    """The JSON of a single framed event."""
    return one.partition(b"\ndata: ")[2].rstrip(b"\n")


def obfuscated(payload: bytes, letters: Callable[[int], str]) -> bytes:
    """The payload with its deltas padded, so that sizes on the wire tell nothing (contract 3.3).

    ``letters`` makes so many random letters.
    """
    return b"".join(_padded(one, letters) for one in frames(payload))


def _padded(one: bytes, letters: Callable[[int], str]) -> bytes:
    name = one.partition(b"\n")[0]
    if not name.endswith(b".delta"):
        return one
    fields = _fields(data(one))
    delta = fields.get("delta", NULL)
    if first_byte(delta) != b'"':
        return one
    padding = letters(-len(_text(delta)) % OBFUSCATED_LENGTH)
    fields["obfuscation"] = msgspec.Raw(_encode(padding))
    return b"%b\ndata: %b\n\n" % (name, _encode(fields))


def response_in(payload: bytes) -> bytes:
    """The response object inside a terminal frame, as its bytes."""
    _, data = payload.split(b"\ndata: ", 1)
    return bytes(_decode_lifecycle(data).response)
