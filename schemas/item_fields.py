"""What the fields of items may hold, in the contract's wording, and what is stored of them.

A `Field` takes the raw JSON of one field and its name as errors spell it, and returns what is
stored: the client's own bytes, unless the contract adds something inside. Fields no `Group` names
are let through, and so is ``null`` wherever a field may be left out (contract 7, traps 9 and 19).
What a field lets through, and what is stored of it, is also told as a shape.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from schemas import shapes
from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.errors import Invalid
from schemas.shapes import Shape

Field = Callable[[msgspec.Raw, str], msgspec.Raw]
Named = Mapping[str, Field]
Told = Callable[[bool], Shape]
"""Whether it is stored, or still to be sent, to the shape of a field."""
T = TypeVar("T")

CALL_ID_LENGTH_MAX = 64
NAMESPACE_LENGTH_MAX = 64
OUTPUT_LENGTH_MAX = 10_485_760
IMAGE_URL_LENGTH_MAX = 20_971_520
FILE_DATA_LENGTH_MAX = 73_400_320
ENCRYPTED_CONTENT_LENGTH_MAX = 20_971_520

_QUOTE, _BRACKET = b'"['
NONE: Named = {}
"""No fields."""

_SHAPES: dict[Field, Told] = {}

_encode = msgspec.json.Encoder().encode


class Group(msgspec.Struct, frozen=True):
    """The fields of one kind of object; ``required`` must be there."""

    required: tuple[str, ...]
    fields: Named


class Part(msgspec.Struct, frozen=True):
    """One kind of content part; ``added`` is stored where a client left it out."""

    group: Group
    added: Mapping[str, msgspec.Raw]


def group(required: Named = NONE, optional: Named = NONE) -> Group:
    """A group of fields."""
    return Group(tuple(required), {**required, **optional})


def shape(field: Field, *, stored: bool) -> Shape:
    """What a field lets through, or what is ``stored`` of it."""
    return _SHAPES[field](stored)


def record_shape(known: Group, *, stored: bool, **others: Shape) -> Shape:
    """The shape of an object of a kind; ``others`` are fields that are always there, in front."""
    fields = {
        name: field if name in known.required else shapes.nullable(field)
        for name, field in ((n, shape(f, stored=stored)) for n, f in known.fields.items())
    }
    return shapes.record({**others, **fields}, required=(*others, *known.required))


def _told(field: Field, told: Told) -> Field:
    _SHAPES[field] = told
    return field


def read(given: Fields, known: Group, param: str) -> Fields:
    """Those fields of ``given`` that are stored in another form than they were sent in."""
    changed: Fields = {}
    for name in known.required:
        if name not in given:
            raise checks.missing(f"{param}.{name}")
    for name, raw in given.items():
        field = known.fields.get(name)
        if field is None or (name not in known.required and checks.is_null(raw)):
            continue
        stored = field(raw, f"{param}.{name}")
        if stored is not raw:
            changed[name] = stored
    return changed


def anything(raw: msgspec.Raw, _param: str) -> msgspec.Raw:
    """Any JSON."""
    return raw


def boolean(raw: msgspec.Raw, param: str) -> msgspec.Raw:
    """``true`` or ``false``."""
    checks.boolean(raw, param)
    return raw


def integer(raw: msgspec.Raw, param: str) -> msgspec.Raw:
    """A whole number."""
    checks.integer(raw, param)
    return raw


def text(raw: msgspec.Raw, param: str) -> msgspec.Raw:
    """A string of any length."""
    if memoryview(raw)[0] != _QUOTE:
        raise checks.wrong_type(param, "a string", raw)
    return raw


def text_of(*, least: int = 0, most: int | None = None) -> Field:
    """A string of ``least`` (0 or 1) to ``most`` characters."""

    def field(raw: msgspec.Raw, param: str) -> msgspec.Raw:
        text(raw, param)
        # No character takes less than a byte: most strings need not be decoded.
        length = len(raw) - 2
        if most is not None and length > most:
            length = len(checks.text(raw, param))
        if length < least:
            raise Invalid(
                f"Invalid '{param}': empty string. Expected a string with minimum length {least}, "
                "but got an empty string instead.",
                param=param,
                code="empty_string",
            )
        if most is not None and length > most:
            raise Invalid(
                f"Invalid '{param}': string too long. Expected a string with maximum length "
                f"{most}, but got a string with length {length} instead.",
                param=param,
                code="string_above_max_length",
            )
        return raw

    return _told(field, lambda _: shapes.text(least=least or None, most=most))


def one_of(*values: str) -> Field:
    """One of the written values."""
    spelled = {_encode(value) for value in values}

    def field(raw: msgspec.Raw, param: str) -> msgspec.Raw:
        if bytes(raw) not in spelled:
            checks.one_of(checks.text(raw, param), values, param)
        return raw

    return _told(field, lambda _: shapes.one_of(values))


def array_of(element: Field) -> Field:
    """An array of one kind of thing."""

    def field(raw: msgspec.Raw, param: str) -> msgspec.Raw:
        if bytes(raw) != b"[]":
            for index, value in enumerate(checks.array(raw, param)):
                element(value, f"{param}[{index}]")
        return raw

    return _told(field, lambda stored: shapes.array(shape(element, stored=stored)))


def mapping(raw: msgspec.Raw, param: str) -> msgspec.Raw:
    """An object with any fields."""
    checks.fields(raw, param)
    return raw


def texts_by_name(raw: msgspec.Raw, param: str) -> msgspec.Raw:
    """An object whose values are strings."""
    for name, value in checks.fields(raw, param).items():
        text(value, f"{param}.{name}")
    return raw


def record(required: Named = NONE, optional: Named = NONE) -> Field:
    """An object with certain fields."""
    known = group(required, optional)

    def field(raw: msgspec.Raw, param: str) -> msgspec.Raw:
        read(checks.fields(raw, param), known, param)
        return raw

    return _told(field, lambda stored: record_shape(known, stored=stored))


def tagged(kinds: Mapping[str, Group]) -> Field:
    """An object of one of several kinds, which its ``type`` tells."""

    def field(raw: msgspec.Raw, param: str) -> msgspec.Raw:
        fields = checks.fields(raw, param)
        read(fields, kind_of(fields, kinds, param), param)
        return raw

    def told(stored: bool) -> Shape:
        members = [
            record_shape(known, stored=stored, type=shapes.exactly(name))
            for name, known in kinds.items()
        ]
        return shapes.any_of(*members) if len(members) > 1 else members[0]

    return _told(field, told)


def kind_of(fields: Fields, kinds: Mapping[str, T], param: str) -> T:
    """What ``kinds`` holds for the ``type`` of an object."""
    if "type" not in fields:
        raise checks.missing(f"{param}.type")
    name = checks.plain(fields["type"])
    if isinstance(name, str) and name in kinds:
        return kinds[name]
    place = f"{param}.type"
    return kinds[checks.one_of(checks.text(fields["type"], place), tuple(kinds), place)]


def parts_of(kinds: Mapping[str, Part]) -> Field:
    """An array of content parts; those that lack what is added are stored with it."""

    def field(raw: msgspec.Raw, param: str) -> msgspec.Raw:
        values = checks.array(raw, param)
        changed = False
        for index, value in enumerate(values):
            place = f"{param}[{index}]"
            fields = checks.fields(value, place)
            kind = kind_of(fields, kinds, place)
            read(fields, kind.group, place)
            if kind.added and (lacking := _lacking(fields, kind.added)):
                values[index], changed = msgspec.Raw(_encode({**fields, **lacking})), True
        return msgspec.Raw(_encode(values)) if changed else raw

    def told(stored: bool) -> Shape:
        return shapes.array(shapes.union({name: part_name(name, stored=stored) for name in kinds}))

    return _told(field, told)


def part_name(kind: str, *, stored: bool) -> str:
    """What the shape of a kind of content part is called."""
    return shapes.name_of(kind) + ("Content" if stored else "ContentParam")


def part_shape(kind: str, part: Part, *, stored: bool) -> Shape:
    """A kind of content part, as it is sent or stored."""
    told = record_shape(part.group, stored=stored, type=shapes.exactly(kind))
    if not stored:
        return told
    fields = {name: shape(part.group.fields[name], stored=True) for name in part.added}
    required = [*told["required"], *part.added]
    return {**told, "properties": {**told["properties"], **fields}, "required": required}


def _lacking(fields: Fields, added: Mapping[str, msgspec.Raw]) -> Fields:
    return {name: raw for name, raw in added.items() if checks.is_null(fields.get(name))}


def text_or(parts: Field, string: Field = text) -> Field:
    """A string, or an array of parts."""

    def field(raw: msgspec.Raw, param: str) -> msgspec.Raw:
        opening = memoryview(raw)[0]
        if opening == _QUOTE:
            return string(raw, param)
        if opening == _BRACKET:
            return parts(raw, param)
        raise checks.wrong_type(param, "one of an array of objects or a string", raw)

    def told(stored: bool) -> Shape:
        return shapes.any_of(shape(string, stored=stored), shape(parts, stored=stored))

    return _told(field, told)


_SHAPES.update(
    {
        anything: lambda _: shapes.ANY,
        boolean: lambda _: shapes.BOOLEAN,
        integer: lambda _: shapes.integer(),
        text: lambda _: shapes.TEXT,
        mapping: lambda _: shapes.OBJECT,
        texts_by_name: lambda _: shapes.mapping(shapes.TEXT),
    }
)


def _part(required: Named = NONE, optional: Named = NONE, **added: bytes) -> Part:
    return Part(
        group(required, optional), {name: msgspec.Raw(value) for name, value in added.items()}
    )


_TEXT = {"text": text}
_FILE_OF_IMAGE = {
    "image_url": text_of(most=IMAGE_URL_LENGTH_MAX),
    "file_id": text,
}
_IMAGE = {**_FILE_OF_IMAGE, "detail": one_of("low", "high", "auto", "original")}

INPUT_PARTS: Mapping[str, Part] = {
    "input_text": _part(_TEXT),
    "input_image": _part(optional=_IMAGE, detail=b'"auto"'),
    "input_file": _part(
        optional={
            "file_id": text,
            "file_data": text_of(most=FILE_DATA_LENGTH_MAX),
            "file_url": text,
            "filename": text,
            "detail": one_of("auto", "low", "high"),
        }
    ),
}
"""What clients may answer a tool call with."""
MESSAGE_PARTS: Mapping[str, Part] = {
    "input_text": INPUT_PARTS["input_text"],
    "output_text": _part(
        _TEXT,
        {"annotations": array_of(mapping), "logprobs": array_of(mapping)},
        annotations=b"[]",
        logprobs=b"[]",
    ),
    "text": _part(_TEXT),
    "summary_text": _part(_TEXT),
    "reasoning_text": _part(_TEXT),
    "refusal": _part({"refusal": text}),
    "input_image": INPUT_PARTS["input_image"],
    "computer_screenshot": _part(optional=_IMAGE, detail=b'"auto"'),
    "input_file": INPUT_PARTS["input_file"],
}

CALL_ID = text_of(least=1, most=CALL_ID_LENGTH_MAX)
NAME = text_of(least=1)
CALLER = tagged({"direct": group(), "program": group({"caller_id": text})})
OUTPUT = text_or(parts_of(INPUT_PARTS), text_of(most=OUTPUT_LENGTH_MAX))
"""What a tool call is answered with."""
SCREENSHOT = tagged({"computer_screenshot": group(optional=_FILE_OF_IMAGE)})
TOOLS = array_of(record({"type": text}))
