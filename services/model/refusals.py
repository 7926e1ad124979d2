"""What an error status of the upstream is to the client: a refusal of the contract, or our fault.

A status that is about the request is passed on in the upstream's words. One that is about this
service's account with it, or about the upstream itself, is nothing a client could mend: its turn
fails. Decided by codes, not by wording.
"""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import structlog

from services import clock
from services.model import ModelRefused, ModelUnavailable

log = structlog.get_logger()

RETRY_AFTER_S_MAX = 86_400
"""Seconds; nobody waits longer for an answer."""

_BAD_REQUEST, _NOT_FOUND, _TOO_MANY = 400, 404, 429
_REFUSALS = frozenset({_BAD_REQUEST, _NOT_FOUND, 413, 422, _TOO_MANY})
_OUR_CREDENTIALS = frozenset({401, 403, 407})
_MODEL_UNKNOWN = frozenset({"NotFoundError", "not_found_error"})
"""Error types by which servers without ``model_not_found`` say the same."""
_LIMITS = frozenset({"requests", "tokens", "insufficient_quota"})
"""Error types of a status 429 (contract 0.3)."""


def fault(status: int, body: object, headers: Mapping[str, str]) -> ModelRefused | ModelUnavailable:
    """The exception for an error answer; ``body`` is its error object, or what stood there."""
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    message = words(told.get("message")) or words(told.get("detail"))
    code, kind = words(told.get("code")), words(told.get("type"))
    if code == "model_not_found" or (status == _NOT_FOUND and kind in _MODEL_UNKNOWN):
        return model_unknown(message or "The requested model does not exist.", status=_BAD_REQUEST)
    if status in _OUR_CREDENTIALS:
        log.error("model.credentials_refused", status=status)
        return ModelUnavailable("The model's server refused the credentials of this service.")
    if status == _NOT_FOUND and (not told.get("message") or _is_url_unknown(message)):
        log.error("model.address_unknown", status=status)
        return ModelUnavailable("The model's server does not offer the API it is asked by.")
    if status not in _REFUSALS:
        return ModelUnavailable(f"The model answered with status {status}.")
    if status == _TOO_MANY:
        limit = kind if kind in _LIMITS else "requests"
        return ModelRefused(
            message or "The model is asked too often. Please retry later.",
            status=status,
            kind="insufficient_quota" if code == "insufficient_quota" else limit,
            code=code or "rate_limit_exceeded",
            param=words(told.get("param")),
            retry_after_s=_retry_after_s(headers),
        )
    return ModelRefused(
        message or f"The model's server refused the request with status {status}.",
        status=status,
        code=code,
        param=words(told.get("param")),
    )


def model_unknown(message: str, *, status: int) -> ModelRefused:
    """There is no model of this name."""
    return ModelRefused(message, status=status, code="model_not_found", param="model")


def words(value: object) -> str | None:
    """A value that may be shown as text; servers put numbers and objects in its place."""
    return value if isinstance(value, str) and value else None


def _is_url_unknown(message: str | None) -> bool:
    # The one thing only its wording tells: an unknown URL has no code (contract 1.2).
    return message is not None and message.startswith("Invalid URL")


def _retry_after_s(headers: Mapping[str, str]) -> int:
    """Whole seconds to wait, at least 1: milliseconds, seconds or a date."""
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("retry-after")
    wait_s = _number(milliseconds) / 1000 or _number(seconds) or _until(seconds)
    return max(1, min(RETRY_AFTER_S_MAX, math.ceil(wait_s)))


def _number(value: str | None) -> float:
    try:
        number = float(value or "")
    except ValueError:
        return 0
    return number if math.isfinite(number) else 0


def _until(value: str | None) -> float:
    try:
        return (parsedate_to_datetime(value or "") - clock.now()).total_seconds()
    except (ValueError, TypeError):
        return 0
