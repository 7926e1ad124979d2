"""Frames of WebSocket mode (contract 6.3): one JSON object each, in both directions."""

import re

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.errors import ErrorBody, Invalid

CREATE = "response.create"
STEER = "response.steer"

STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_NOT_OF_THE_BODY = frozenset(
    {"type", "stream_id", "generate", "stream", "background", "background_options"}
)
"""What a frame may hold beside the body of a create, and what has no meaning here."""

_encode = msgspec.json.Encoder().encode
_error_body = msgspec.json.Decoder(ErrorBody).decode
_true = msgspec.Raw(b"true")


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that asks for a response; ``stream_id`` names its lane, ``size`` is its length."""

    stream_id: str | None
    fields: Fields
    size: int


def read_frame(payload: bytes) -> Create:
    """The request in a frame, as far as its lane goes; the rest is read when its turn comes."""
    given = checks.body(payload)
    if checks.is_null(given.get("type")):
        raise checks.missing("type")
    name = checks.one_of(checks.text(given["type"], "type"), (CREATE, STEER), "type")
    if name == STEER:
        raise Invalid("Steering is not supported by this server.", code="steering_not_supported")
    return Create(stream_id=_stream_id(given), fields=given, size=len(payload))


def _stream_id(given: Fields) -> str | None:
    raw = given.get("stream_id")
    if raw is None or checks.is_null(raw):
        return None
    value = checks.plain(raw)
    if isinstance(value, str) and STREAM_ID.fullmatch(value):
        return value
    raise Invalid(
        f"Invalid 'stream_id': expected a string that matches '^{STREAM_ID.pattern}$'.",
        param="stream_id",
        code="invalid_stream_id",
    )


def body_of(create: Create) -> tuple[bytes, bool]:
    """The body of the ``POST /v1/responses`` a frame stands for, and whether to ask the model."""
    raw = create.fields.get("generate")
    generate = raw is None or checks.is_null(raw) or checks.boolean(raw, "generate")
    fields = {name: raw for name, raw in create.fields.items() if name not in _NOT_OF_THE_BODY}
    return _encode({**fields, "stream": _true}), generate


def event(data: bytes, stream_id: str | None) -> bytes:
    """The frame of an event; ``data`` is its JSON, which ends with a brace."""
    if stream_id is None:
        return data
    # What a lane may be called needs no escaping.
    return b'%b,"stream_id":"%b"}' % (data[:-1], stream_id.encode())


class _Error(msgspec.Struct, frozen=True, kw_only=True):
    """The inner object, in the order of the wire."""

    type: str
    code: str | None
    message: str
    param: str | None
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class _ErrorFrame(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "error"
    status: int
    error: _Error
    stream_id: str | msgspec.UnsetType = msgspec.UNSET


def refusal(body: bytes, *, status: int, retry_after_s: int | None, stream_id: str | None) -> bytes:
    """The frame of an error whose body over HTTP would be ``body``."""
    error = _error_body(body).error
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return _encode(
        _ErrorFrame(
            status=status,
            error=_Error(
                type=error.type,
                code=error.code,
                message=error.message,
                param=error.param,
                headers=headers or msgspec.UNSET,
            ),
            stream_id=stream_id or msgspec.UNSET,
        )
    )
