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


def wrong(param: str, wanted: str, given: str):
    """The answer to a value of another kind."""
    message = f"Invalid type for '{param}': expected {wanted}, but got {given} instead."
    return invalid(message, param=param, code="invalid_type")


def lacking(param: str):
    """The answer to a field that is not there."""
    message = f"Missing required parameter: '{param}'."
    return invalid(message, param=param, code="missing_required_parameter")


def unsupported(param: str, value: str, supported: str):
    """The answer to a value that is not one of the written ones."""
    message = f"Invalid value: '{value}'. Supported values are: {supported}."
    return invalid(message, param=param, code="invalid_value")


def bounded(param: str, kind: str, given: object, *, least: int | None = None, most: int = 0):
    """The answer to a number beyond its bound."""
    side, sign, bound = (
        ("below minimum", ">=", least) if least is not None else ("above maximum", "<=", most)
    )
    return invalid(
        f"Invalid '{param}': {kind} {side} value. Expected a value {sign} {bound}, "
        f"but got {given} instead.",
        param=param,
        code=f"{kind}_{side.split()[0]}_{side.split()[1][:3]}_value",
    )


def long(param: str, most: int, length: int):
    """The answer to a string of too many characters."""
    return invalid(
        f"Invalid '{param}': string too long. Expected a string with maximum length {most}, "
        f"but got a string with length {length} instead.",
        param=param,
        code="string_above_max_length",
    )
