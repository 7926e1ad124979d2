"""The metadata map of conversations and responses (contract 1.1)."""

import msgspec

from schemas import shapes
from schemas.http import checks
from schemas.http.errors import Invalid
from schemas.shapes import Shape

PROPERTIES_MAX = 16
KEY_LENGTH_MAX = 64
VALUE_LENGTH_MAX = 512

SHAPE: Shape = {
    "type": "object",
    "description": "Up to 16 pairs of strings, keys of 64 characters and values of 512 at most.",
    "maxProperties": PROPERTIES_MAX,
    "propertyNames": shapes.text(most=KEY_LENGTH_MAX),
    "additionalProperties": shapes.text(most=VALUE_LENGTH_MAX),
}


def metadata(raw: msgspec.Raw | None, param: str = "metadata") -> dict[str, str]:
    """A map within its limits; ``{}`` for null."""
    if raw is None or checks.is_null(raw):
        return {}
    if checks.first_byte(raw) != b"{":
        raise checks.wrong_type(param, "a metadata object", raw)
    given = checks.fields(raw, param)
    if len(given) > PROPERTIES_MAX:
        raise Invalid(
            f"Invalid '{param}': too many properties. Expected an object with at most "
            f"{PROPERTIES_MAX} properties, but got an object with {len(given)} "
            "properties instead.",
            param=param,
            code="object_above_max_properties",
        )
    return {key: _value(key, value, param) for key, value in given.items()}


def _value(key: str, raw: msgspec.Raw, param: str) -> str:
    if len(key) > KEY_LENGTH_MAX:
        raise Invalid(
            f"Invalid property name in '{param}': '{checks.told(key)}' is too long. Expected a "
            f"string with maximum length {KEY_LENGTH_MAX}, but got a string with length "
            f"{len(key)} instead.",
            param=f"{param}.{key}",
            code="property_name_above_max_length",
        )
    return checks.text(raw, f"{param}.{key}", most=VALUE_LENGTH_MAX)
