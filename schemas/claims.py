"""The claim of an idempotency key: what the request came to that was sent with it (stream CLAIMS).

A key is whatever a client chooses. Whoever sends one again means the same request, and only that.
"""

import hashlib
import re

import msgspec

_KEY = re.compile(r"[!-~]{1,255}")
KEY_PATTERN = f"^{_KEY.pattern}$"
TURN_PATH = "/v1/responses"
"""Where a turn is asked for over HTTP; one asked for on the queue is the same request."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The ids a request was given, and what tells it from any other.

    ``id`` is that of the command, or of the response; ``conversation_id`` leads to it.
    """

    id: str
    conversation_id: str
    fingerprint: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Claim).decode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode_any = msgspec.json.Decoder().decode


def encode(claim: Claim) -> bytes:
    """The message's bytes."""
    return _encode(claim)


def decode(payload: bytes) -> Claim:
    """The claim in a message."""
    return _decode(payload)


def acceptable(key: str) -> bool:
    """Whether a client may name a request by this: 1 to 255 visible ASCII characters."""
    return _KEY.fullmatch(key) is not None


def fingerprint(method: str, path: str, payload: bytes) -> str:
    """What a request is, however its JSON is written."""
    told = hashlib.sha256(_canonical(payload))
    for part in (method, path):
        told.update(b"\0" + part.encode())
    return told.hexdigest()


def fingerprint_of_turn(payload: bytes) -> str:
    """What a request for a turn is, at every door."""
    return fingerprint("POST", TURN_PATH, payload)


def _canonical(payload: bytes) -> bytes:
    try:
        return _encode_sorted(_decode_any(payload))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        # Nothing at all, or no JSON, which is refused later on.
        return payload
