"""A value that fits a JSON Schema, made of what was said: for calls and structured answers."""

import re
from collections.abc import Mapping
from typing import Any

_NESTED_MAX = 4
_TEXT_LENGTH_MAX = 80


def example_of(schema: Mapping[str, Any], said: str) -> Any:
    """The example; objects have their required properties only, and deep ones none."""
    return _example(schema, said, root=schema, depth=0)


def _example(schema: Any, said: str, *, root: Mapping[str, Any], depth: int) -> Any:
    schema = _resolved(schema, root)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        nulls = [one for one in choices if isinstance(one, dict) and one.get("type") == "null"]
        deep = depth >= _NESTED_MAX and bool(nulls)
        return _example(nulls[0] if deep else choices[0], said, root=root, depth=depth)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            names = schema.get("required") or () if depth < _NESTED_MAX else ()
            return {
                name: _example(properties.get(name), said, root=root, depth=depth + 1)
                for name in names
            }
        case "array":
            count = schema.get("minItems") or 0 if depth < _NESTED_MAX else 0
            items = schema.get("items")
            return [_example(items, said, root=root, depth=depth + 1) for _ in range(count)]
        case "integer" | "number":
            found = re.search(r"\d{1,15}", said)
            return int(found[0]) if found else 1
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return said[:_TEXT_LENGTH_MAX]


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema, or what it refers to inside the whole one."""
    for _ in range(_NESTED_MAX):
        if not isinstance(schema, dict):
            return {}
        pointer = schema.get("$ref")
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            return schema
        schema = root
        for step in pointer.split("/")[1:]:
            schema = schema.get(step) if isinstance(schema, dict) else None
    return {}
