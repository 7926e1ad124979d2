"""What a check answers a client: status and body, whole."""

import json
from collections.abc import Callable

import pytest

from schemas.http.errors import ApiError


def refusal(check: Callable[..., object], *values: object, **bounds: object):
    """Status and body of the error that ``check`` must raise."""
    with pytest.raises(ApiError) as refused:
        check(*values, **bounds)
    return refused.value.status, json.loads(refused.value.body())


def answered(read: Callable[[bytes], object], payload: bytes) -> int:
    """The HTTP status that reading a body comes to; any other exception is let through."""
    try:
        read(payload)
    except ApiError as error:
        return error.status
    return 200


def invalid(message: str, *, param: str | None, code: str | None):
    """The answer of status 400 with these words."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return 400, {"error": error}
