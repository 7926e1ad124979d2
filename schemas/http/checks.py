"""Field checks with the contract's wording (contract 1.1 and 1.3).

Every check takes the raw JSON of one field and its name as errors spell it (``items[0].role``),
and returns the value or raises `Invalid`. Raw JSON is only decoded where the value matters.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.http.errors import Invalid
from schemas.ids import acceptable

Fields = dict[str, msgspec.Raw]
"""A JSON object whose values are still bytes."""

NESTING_MAX = 200
"""Levels of arrays and objects in a body; a fifth of what the decoder itself can follow."""
TOLD_LENGTH_MAX = 64
"""Characters of a client's own value that an error repeats."""

INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
"""What a request may ask to be included (contract 1.3)."""

NULL = msgspec.Raw(b"null")

_NESTING = (dict, list)
"""A tuple: a union would be made anew for every value of a body."""
_INTEGER = re.compile(r"-?[0-9]{1,400}")
_NAME = re.compile("[a-zA-Z0-9_-]+")

_fields = msgspec.json.Decoder(Fields).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode

_BAD_JSON = (
    "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. "
    "(Common errors include trailing commas, missing closing brackets, missing quotation marks, "
    "etc.)"
)


def body(payload: bytes) -> Fields:
    """The fields of a request body; an empty body counts as an empty object."""
    if not payload:
        return {}
    try:
        # A typed decode skips what it does not need; only a full one proves every value is JSON.
        value = _any(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Invalid(_BAD_JSON, code="invalid_json") from None
    if payload.count(b"[") + payload.count(b"{") > NESTING_MAX and _nested_too_deep(value):
        raise Invalid(
            f"Invalid body: values are nested more than {NESTING_MAX} deep.", code="invalid_json"
        )
    if first_byte(payload) != b"{":
        raise wrong_type(None, "an object", msgspec.Raw(payload))
    return _fields(payload)


def _nested_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(NESTING_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _NESTING)
        ]
        if not level:
            return False
    return True


def first_byte(raw: msgspec.Raw | bytes) -> bytes:
    """The byte that tells a JSON value's kind."""
    return bytes(raw).lstrip()[:1]


def kind(raw: msgspec.Raw) -> str:
    """What the value is, as error messages say it."""
    match first_byte(raw):
        case b"{":
            return "an object"
        case b"[":
            return "an array"
        case b'"':
            return "a string"
        case b"t" | b"f":
            return "a boolean"
        case b"n":
            return "null"
        case _:
            return "a decimal" if any(c in bytes(raw) for c in b".eE") else "an integer"


def wrong_type(param: str | None, expected: str, raw: msgspec.Raw) -> Invalid:
    """The error for a value of another kind than ``expected`` (with its article)."""
    place = f" for '{param}'" if param else ""
    return Invalid(
        f"Invalid type{place}: expected {expected}, but got {kind(raw)} instead.",
        param=param,
        code="invalid_type",
    )


def missing(param: str) -> Invalid:
    """The error for a field that must be there."""
    return Invalid(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def is_null(raw: msgspec.Raw | None) -> bool:
    """Whether a field is absent or ``null``."""
    return raw is None or (len(raw) == len(NULL) and bytes(raw) == b"null")


def present(given: Fields) -> Fields:
    """The fields that are not ``null``."""
    return {name: raw for name, raw in given.items() if not is_null(raw)}


def text(raw: msgspec.Raw, param: str, *, most: int | None = None) -> str:
    """A string of at most ``most`` characters."""
    value = _any(raw)
    if not isinstance(value, str):
        raise wrong_type(param, "a string", raw)
    if most is not None and len(value) > most:
        raise too_long(param, most=most, length=len(value))
    return value


def too_long(param: str, *, most: int, length: int) -> Invalid:
    """The error for a string of too many characters."""
    return Invalid(
        f"Invalid '{param}': string too long. Expected a string with maximum length {most}, "
        f"but got a string with length {length} instead.",
        param=param,
        code="string_above_max_length",
    )


def name(raw: msgspec.Raw, param: str, *, most: int) -> str:
    """What something may be called: 1 to ``most`` of ``A-Za-z0-9_-``."""
    value = text(raw, param, most=most)
    if not value:
        raise Invalid(
            f"Invalid '{param}': empty string. Expected a string with minimum length 1, "
            "but got an empty string instead.",
            param=param,
            code="empty_string",
        )
    if not _NAME.fullmatch(value):
        raise Invalid(
            f"Invalid '{param}': string does not match pattern. Expected a string that matches "
            f"the pattern '^{_NAME.pattern}$'.",
            param=param,
            code="invalid_value",
        )
    return value


def boolean(raw: msgspec.Raw, param: str) -> bool:
    """``true`` or ``false``."""
    value = _any(raw)
    if not isinstance(value, bool):
        raise wrong_type(param, "a boolean", raw)
    return value


def integer(
    raw: msgspec.Raw, param: str, *, least: int | None = None, most: int | None = None
) -> int:
    """A whole number within bounds."""
    value = _any(raw)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(param, "an integer", raw)
    bounded(value, param, least=least, most=most, noun="integer")
    return value


def number(raw: msgspec.Raw, param: str, *, least: float, most: float) -> float:
    """A number within bounds."""
    value = _any(raw)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(param, "a decimal", raw)
    bounded(value, param, least=least, most=most, noun="decimal")
    return value


def bounded(
    value: float, param: str, *, least: float | None, most: float | None, noun: str
) -> None:
    """Raise unless ``least <= value <= most``."""
    if least is not None and value < least:
        raise Invalid(
            f"Invalid '{param}': {noun} below minimum value. "
            f"Expected a value >= {least:g}, but got {value} instead.",
            param=param,
            code=f"{noun}_below_min_value",
        )
    if most is not None and value > most:
        raise Invalid(
            f"Invalid '{param}': {noun} above maximum value. "
            f"Expected a value <= {most:g}, but got {value} instead.",
            param=param,
            code=f"{noun}_above_max_value",
        )


def one_of(value: str, supported: Sequence[str], param: str) -> str:
    """One of the written values."""
    if value in supported:
        return value
    raise Invalid(
        f"Invalid value: '{told(value)}'. Supported values are: {listed(supported, 'and')}.",
        param=param,
        code="invalid_value",
    )


def choice(
    raw: msgspec.Raw, param: str, *, supported: Sequence[str], expected: str | None = None
) -> str:
    """A string that is one of the written values; ``expected`` is what else errors call them."""
    value = _any(raw)
    if not isinstance(value, str):
        raise wrong_type(param, expected or f"one of {listed(supported, 'or')}", raw)
    return one_of(value, supported, param)


def told(value: str) -> str:
    """A client's own value as errors repeat it."""
    return value if len(value) <= TOLD_LENGTH_MAX else f"{value[:TOLD_LENGTH_MAX]}..."


def listed(names: Sequence[str], conjunction: str) -> str:
    """Quoted names in a row: ``'a' and 'b'``; ``'a', 'b', or 'c'``."""
    *others, last = [f"'{each}'" for each in names]
    comma = "," if len(others) > 1 else ""
    return f"{', '.join(others)}{comma} {conjunction} {last}" if others else last


def array(
    raw: msgspec.Raw,
    param: str,
    *,
    least: int = 0,
    most: int | None = None,
    expected: str = "an array",
) -> list[msgspec.Raw]:
    """An array, its elements raw; ``expected`` is what errors call it."""
    if first_byte(raw) != b"[":
        raise wrong_type(param, expected, raw)
    values = _array(raw)
    if len(values) < least:
        raise Invalid(
            f"Invalid '{param}': empty array. Expected an array with minimum length {least}, "
            "but got an empty array instead.",
            param=param,
            code="empty_array",
        )
    if most is not None and len(values) > most:
        raise Invalid(
            f"Invalid '{param}': array too long. Expected an array with maximum length {most}, "
            f"but got an array with length {len(values)} instead.",
            param=param,
            code="array_above_max_length",
        )
    return values


def an_object(raw: msgspec.Raw, param: str) -> None:
    """An object, whatever is in it."""
    if first_byte(raw) != b"{":
        raise wrong_type(param, "an object", raw)


def fields(raw: msgspec.Raw, param: str) -> Fields:
    """An object, its values raw."""
    an_object(raw, param)
    return _fields(raw)


def plain(raw: msgspec.Raw) -> Any:
    """The value, decoded."""
    return _any(raw)


def named(value: str, prefix: str, param: str) -> str:
    """An id that begins with ``prefix`` and holds nothing but what ids may hold."""
    if not value.startswith(prefix) or not acceptable(value):
        raise Invalid(
            f"Invalid '{param}': '{told(value)}'. Expected an ID that begins with '{prefix}'.",
            param=param,
            code="invalid_value",
        )
    return value


_AN_INCLUDABLE = "one of " + listed([f"{one[:3]}...{one[-3:]}" for one in INCLUDABLE], "or")
"""Names this long are told by their ends where a type is wrong (contract 1.4: 'pre..._id')."""
_INCLUDABLES = f"an array of {_AN_INCLUDABLE}"


def included(raw: msgspec.Raw, param: str = "include") -> tuple[str, ...]:
    """What a body asks to be included."""
    values = array(raw, param, expected=_INCLUDABLES)
    return tuple(
        choice(value, f"{param}[{index}]", supported=INCLUDABLE, expected=_AN_INCLUDABLE)
        for index, value in enumerate(values)
    )


def include(query: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """What a query asks to be included: ``include[]`` as the SDK spells it, or ``include``."""
    values = [value for key, value in query if key in {"include[]", "include"}]
    return tuple(
        one_of(value, INCLUDABLE, f"include[{index}]") for index, value in enumerate(values)
    )


def page(query: Sequence[tuple[str, str]]) -> tuple[int, str, str | None]:
    """``limit`` (1 to 100, 20), ``order`` (``desc``) and ``after`` of a listing's query."""
    limit, order, after = 20, "desc", None
    for name, value in query:
        match name:
            case "limit":
                limit = query_integer(value, name, least=1, most=100)
            case "order":
                order = one_of(value, ("asc", "desc"), "order")
            case "after":
                after = value or None
            case _:
                pass
    return limit, order, after


def query_integer(
    value: str, param: str, *, least: int | None = None, most: int | None = None
) -> int:
    """A whole number of a query, within bounds."""
    # int() takes more than JSON does: 1_0, other scripts' digits, blanks around.
    if not _INTEGER.fullmatch(value):
        raise Invalid(
            f"Invalid type for '{param}': expected an integer, but got a string instead.",
            param=param,
            code="invalid_type",
        )
    number_given = int(value)
    bounded(number_given, param, least=least, most=most, noun="integer")
    return number_given


def query_flag(value: str, param: str) -> bool:
    """``true`` or ``false`` in a query."""
    if value not in {"true", "false"}:
        raise Invalid(
            f"Invalid type for '{param}': expected a boolean, but got a string instead.",
            param=param,
            code="invalid_type",
        )
    return value == "true"
