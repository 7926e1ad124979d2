"""Trouble a request orders for itself: what is said wrongly, cut off or never said.

An ordered error is worded as the contract words its like. `Attempts` is the one thing the
simulator remembers of earlier requests: how often each text that limits its trouble had it.
"""

import hashlib
from collections import OrderedDict
from typing import Literal

import msgspec

from schemas.http.errors import Error, ErrorBody

Frame = tuple[bool, bytes]
"""Whether a frame is a delta, which a delay goes before, and its bytes."""

Place = int | Literal["first", "middle", "last"]
"""Where in an answer: after so many deltas, or before its first byte, half-way, before its end."""

SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"
MESSAGES = {
    "bio_policy": "This request has been flagged for possible biological risk.",
    "context_length_exceeded": "Your input exceeds the context window of this model. "
    "Please adjust your input and try again.",
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing "
    "details.",
    "invalid_api_key": "Incorrect API key provided: none. You can find your API key at "
    "https://platform.openai.com/account/api-keys.",
    "invalid_prompt": "Invalid prompt: we've limited access to this content for safety reasons.",
    "rate_limit_exceeded": "Rate limit reached for requests.",
    "server_error": SERVER_ERROR,
    "server_is_overloaded": "The engine is currently overloaded, please try again later.",
}
"""What the codes of errors mean; any other code is told as ordered."""

_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 529: "server_is_overloaded"}
_RETRIED = frozenset({429, 503, 529})
_HTML = b"<html><head><title>%d</title></head><body><center>%d</center></body></html>\r\n"
_JSON_TYPE, _HTML_TYPE = b"application/json", b"text/html"
_WRONG_SHAPE = {
    "id": 7,
    "type": "response.output_text.delta",
    "delta": {"text": 7},
    "output_index": "first",
    "output": "none",
    "choices": "none",
}

_encode = msgspec.json.Encoder().encode


def message_of(code: str) -> str:
    """What the error of a code says."""
    return MESSAGES.get(code) or f"The simulator was told to fail with {code}."


class HttpError(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP error instead of an answer."""

    status: int
    retry_after_s: int | None = None
    code: str | None = None
    """``html`` is the page of a proxy; anything else the code inside the error body."""

    def reply(self) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
        """Body, content type and further headers."""
        retry_after_s = self.retry_after_s
        if retry_after_s is None and self.status in _RETRIED:
            retry_after_s = 1
        headers = [] if retry_after_s is None else [(b"retry-after", b"%d" % retry_after_s)]
        if self.code == "html":
            return _HTML % (self.status, self.status), _HTML_TYPE, headers
        return _encode(ErrorBody(self._error())), _JSON_TYPE, headers

    def _error(self) -> Error:
        code = self.code or _CODES.get(self.status)
        message = MESSAGES.get(code or "")
        kind = "invalid_request_error"
        if self.status == 429:  # noqa: PLR2004 - as the contract writes it
            kind = "insufficient_quota" if code == "insufficient_quota" else "requests"
        elif self.status >= 500:  # noqa: PLR2004
            kind, message = "server_error", message or SERVER_ERROR
        message = message or f"The simulator was told to answer {self.status}."
        param = "input" if code == "context_length_exceeded" else None
        return Error(message=message, type=kind, param=param, code=code)


TOO_LONG = HttpError(status=400, code="context_length_exceeded")
"""The error of a request that is more than its model takes."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """All that goes wrong with one answer."""

    error: HttpError | None = None
    failed: str | None = None
    """Code of the error the response fails with."""
    error_event: Literal["flat", "nested"] | None = None
    malformed: Literal["json", "shape", "list"] | None = None
    unfinished: bool = False
    drop: Place | None = None
    hang: Place | None = None
    times: int | None = None
    """Only so many requests with one text have it."""


NONE = Trouble()


class Attempts:
    """How often each text that limits its trouble has been answered with it. Memory only."""

    def __init__(self, *, texts_max: int) -> None:
        """The texts that came last are remembered."""
        self._texts_max = texts_max
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def due(self, text: str, trouble: Trouble) -> bool:
        """Whether this request has the trouble; counts it."""
        if trouble.times is None:
            return True
        key = hashlib.sha256(text.encode(errors="replace")).digest()
        seen = self._seen.pop(key, 0)
        self._seen[key] = seen + 1
        if len(self._seen) > self._texts_max:
            self._seen.popitem(last=False)
        return seen < trouble.times

    def clear(self) -> None:
        """Forget them all."""
        self._seen.clear()


def spoilt(frames: list[Frame], trouble: Trouble, *, ending: int) -> list[Frame]:
    """What of a stream is sent, and what is put in; its last ``ending`` frames end it."""
    if trouble.malformed:
        half = len(frames) // 2
        frames = [
            *frames[:half],
            (False, _malformed_frame(frames[half][1], trouble)),
            *frames[half:],
        ]
    if trouble.unfinished:
        frames = frames[:-ending]
    place = trouble.hang if trouble.hang is not None else trouble.drop
    return frames if place is None else frames[: index_of(place, frames, ending=ending)]


def spoilt_body(payload: bytes, trouble: Trouble) -> bytes:
    """The body of a plain answer with what is wrong inside it."""
    match trouble.malformed:
        case None:
            return payload
        case "json":
            return payload[: len(payload) // 2]
        case "shape":
            return _encode(_WRONG_SHAPE)
        case "list":
            return b"[1,2]"


def _malformed_frame(following: bytes, trouble: Trouble) -> bytes:
    if trouble.malformed == "json":
        return following[: len(following) // 2].rstrip() + b"\n\n"
    return b"data: %b\n\n" % spoilt_body(b"", trouble)


def index_of(place: Place, frames: list[Frame], *, ending: int) -> int:
    """How many frames of a stream are before a place."""
    match place:
        case "first":
            return 0
        case "middle":
            return len(frames) // 2
        case "last":
            return len(frames) - ending
        case _:
            deltas = [index for index, (delta, _) in enumerate(frames) if delta]
            cuts = [*deltas[:1], *(index + 1 for index in deltas)]
            return cuts[place] if place < len(cuts) else len(frames) - ending
