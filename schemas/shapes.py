"""JSON Schema in few words: what the generated documents say of a value.

Shapes are read off structs, and off the checks of what clients send; what is written by hand
stands beside what enforces it, in the same words.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

Shape: TypeAlias = dict[str, Any]
"""A JSON Schema, as plain data."""

COMPONENTS = "#/components/schemas/"
"""Where both documents keep the shapes that have names."""

ID_LENGTH_MAX = 64
"""Characters of an id (contract 0.4)."""

ANY: Shape = {}
NULL: Shape = {"type": "null"}
BOOLEAN: Shape = {"type": "boolean"}
TEXT: Shape = {"type": "string"}
OBJECT: Shape = {"type": "object", "additionalProperties": True}


def text(*, least: int | None = None, most: int | None = None, pattern: str | None = None) -> Shape:
    """A string; ``least`` and ``most`` bound its length."""
    return _present({"type": "string", "minLength": least, "maxLength": most, "pattern": pattern})


def identifier(*prefixes: str) -> Shape:
    """An id that begins with one of ``prefixes``, of what ids may hold."""
    begins = f"({'|'.join(prefixes)})" if len(prefixes) > 1 else "".join(prefixes)
    return text(least=1, most=ID_LENGTH_MAX, pattern=f"^{begins}[A-Za-z0-9_-]*$")


def integer(*, least: int | None = None, most: int | None = None) -> Shape:
    """A whole number within bounds."""
    return _present({"type": "integer", "minimum": least, "maximum": most})


def number(*, least: float | None = None, most: float | None = None) -> Shape:
    """A number within bounds."""
    return _present({"type": "number", "minimum": least, "maximum": most})


def one_of(values: Iterable[str]) -> Shape:
    """One of the written values."""
    return {"type": "string", "enum": list(values)}


def exactly(value: str) -> Shape:
    """This string and no other."""
    return {"type": "string", "const": value}


def array(of: Shape, *, least: int | None = None, most: int | None = None) -> Shape:
    """An array; ``least`` and ``most`` bound its length."""
    return _present({"type": "array", "items": of, "minItems": least, "maxItems": most})


def record(
    fields: Mapping[str, Shape], *, required: Iterable[str] = (), says: str | None = None
) -> Shape:
    """An object with these fields, and any others; ``says`` is its description."""
    shape = {"type": "object", "description": says, "properties": dict(fields)}
    return _present({**shape, "required": list(required) or None})


def mapping(of: Shape) -> Shape:
    """An object of any keys."""
    return {"type": "object", "additionalProperties": of}


def any_of(*shapes: Shape) -> Shape:
    """Whatever fits one of ``shapes``."""
    return {"anyOf": list(shapes)}


def name_of(kind: str) -> str:
    """What the shape of a ``type`` is called: ``response.created`` is ``ResponseCreated``."""
    return "".join(word.capitalize() for word in kind.replace(".", "_").split("_"))


def nullable(shape: Shape) -> Shape:
    """``shape`` or null."""
    if not shape:
        return shape
    if "anyOf" in shape:
        return {**shape, "anyOf": [*shape["anyOf"], NULL]}
    if isinstance(shape.get("type"), str) and "const" not in shape:
        either = {**shape, "type": [shape["type"], "null"]}
        return {**either, "enum": [*shape["enum"], None]} if "enum" in shape else either
    return any_of(shape, NULL)


def described(shape: Shape, says: str) -> Shape:
    """``shape`` with a description."""
    return {**shape, "description": says}


def ref(name: str) -> Shape:
    """The shape of this name."""
    return {"$ref": COMPONENTS + name}


def union(members: Mapping[str, str], *, says: str | None = None) -> Shape:
    """One of the named shapes, told apart by ``type``: from its value to the name."""
    shape = any_named(members.values(), says=says)
    mapping = {value: COMPONENTS + name for value, name in members.items()}
    return {**shape, "discriminator": {"propertyName": "type", "mapping": mapping}}


def any_named(names: Iterable[str], *, says: str | None = None) -> Shape:
    """Whatever fits one of the named shapes."""
    return _present({"description": says, "anyOf": [ref(name) for name in names]})


def struct(
    kind: type[msgspec.Struct], fields: Mapping[str, Shape] | None = None, *, whole: bool = True
) -> dict[str, Shape]:
    """Shapes by name of a struct and of those inside it.

    ``fields`` says what a field is where its type does not. ``whole``: every field is always
    there, as in what we send; without, those with a default may be left out.
    """
    known = fields or {}
    found: dict[str, Shape] = {}
    properties: dict[str, Shape] = {}
    for field in msgspec.structs.fields(kind):
        shape = known.get(field.name)
        if shape is None and field.name == "object":
            shape = exactly(str(field.default))
        elif shape is None:
            (shape,), inner = msgspec.json.schema_components([field.type], ref_template=_TEMPLATE)
            found |= {name: _named(each, whole=whole) for name, each in inner.items()}
        if not (whole or field.required):
            shape = {**shape, "default": msgspec.to_builtins(_default(field))}
        properties[field.name] = shape
    required = [
        field.name
        for field in msgspec.structs.fields(kind)
        if field.required or (whole and field.default is not msgspec.UNSET)
    ]
    says = _prose(kind.__doc__ or "")
    return {kind.__name__: record(properties, required=required, says=says), **found}


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default is msgspec.NODEFAULT:
        assert field.default_factory is not msgspec.NODEFAULT
        return field.default_factory()
    return field.default


_TEMPLATE = COMPONENTS + "{name}"


def _named(shape: Shape, *, whole: bool) -> Shape:
    """What msgspec says of a struct, without titles that repeat its name."""
    kept = {key: value for key, value in shape.items() if key != "title"}
    kept["description"] = _prose(kept.get("description", ""))
    if whole and "properties" in kept:
        fields = kept["properties"].items()
        kept["properties"] = {
            name: {key: value for key, value in field.items() if key != "default"}
            for name, field in fields
        }
        kept["required"] = list(kept["properties"])
    return kept


def _prose(docstring: str) -> str:
    """A docstring for readers who have nothing but the document."""
    told = " ".join(docstring.split()).replace("``", "`")
    return re.sub(r" \(contract [^)]*\)", "", told)


def _present(shape: Shape) -> Shape:
    return {key: value for key, value in shape.items() if value is not None}
