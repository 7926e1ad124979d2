"""What both APIs read from a body in the same way, with the contract's errors."""

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.http import checks
from schemas.http.errors import ApiError, Invalid, NotFound

_decode = msgspec.json.Decoder().decode


def values_in(payload: bytes) -> dict[str, Any]:
    """The fields of a JSON object; an empty body counts as an empty one."""
    try:
        values = _decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        values = None
    if isinstance(values, dict):
        return values
    # This door words the errors; it is not asked about bodies that can be read.
    assert not checks.body(payload)
    return {}


def check_model(model: object, *, chat: bool = False) -> str:
    """The model's name; raises for ``nope`` and ``unknown-…``, which do not exist."""
    if not isinstance(model, str):
        raise checks.missing("model")
    if model == "nope" or model.startswith("unknown-"):
        raise model_not_found(model, NotFound if chat else Invalid)
    return model


def schema_of(form: object) -> Mapping[str, Any] | None:
    """The schema of a structured answer: flat, or nested as Chat has it; none for a text."""
    match form:
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
        case {"type": "json_schema", "schema": dict() as schema}:
            return schema
        case {"type": "json_object"}:
            return {"type": "object", "required": ["said"]}
        case _:
            return None


def model_not_found(model: str, kind: type[ApiError]) -> ApiError:
    """The error for a model that does not exist."""
    return kind(
        f"The requested model '{model}' does not exist.", param="model", code="model_not_found"
    )


def tokens_limit(values: Mapping[str, Any], name: str) -> int | None:
    """A limit on tokens; none if the field is absent."""
    if values.get(name) is None:
        return None
    return checks.integer(msgspec.Raw(msgspec.json.encode(values[name])), name, least=1)
