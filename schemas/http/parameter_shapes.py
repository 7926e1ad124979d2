"""The shapes of a request's parameters, read off the rules they are checked by."""

from collections.abc import Callable, Mapping
from functools import partial

from schemas import shapes
from schemas.http import checks, parameters
from schemas.http.metadata import SHAPE as METADATA
from schemas.http.metadata import metadata
from schemas.http.parameters import Check
from schemas.shapes import Shape


def shape(rule: Check) -> Shape:
    """What a rule lets through."""
    name = _RULES.get(rule)
    return shapes.ref(name) if name is not None else _read(rule)


def described() -> dict[str, Shape]:
    """Shapes by name of what is more than a word."""
    return {
        **{name: _read(rule) for rule, name in _RULES.items()},
        "Tool": shapes.any_named(_TOOLS),
        **_TOOLS,
        **_CHOICES,
        **_FORMATS,
    }


def _read(rule: Check) -> Shape:
    function, given = (rule.func, rule.keywords) if isinstance(rule, partial) else (rule, {})
    word = _WORDS.get(function)
    return word(**given) if word is not None else _SHAPES[function]


_RULES: dict[Check, str] = {
    metadata: "Metadata",
    parameters.prompt: "Prompt",
    parameters.moderation: "Moderation",
    parameters.tool_choice: "ToolChoice",
    parameters.text_format: "TextResponseFormat",
    parameters.REASONING: "Reasoning",
    parameters.CREATE["text"]: "TextOptions",
    parameters.CREATE["prompt_cache_options"]: "PromptCacheOptions",
}
"""Rules whose shapes have names."""

_WORDS: dict[object, Callable[..., Shape]] = {
    checks.text: shapes.text,
    checks.boolean: lambda: shapes.BOOLEAN,
    checks.integer: shapes.integer,
    checks.number: shapes.number,
    checks.an_object: lambda: shapes.OBJECT,
    checks.choice: lambda supported, **_: shapes.one_of(supported),
    parameters.record: lambda **rules: shapes.record(_optional(rules)),
}
"""What the words mean that rules are written in."""


def _optional(rules: Mapping[str, Check]) -> dict[str, Shape]:
    return {name: shapes.nullable(shape(rule)) for name, rule in rules.items()}


def _typed(
    kind: str,
    required: Mapping[str, Shape] | None = None,
    optional: Mapping[str, Check] | None = None,
) -> Shape:
    """An object of a type, with what is checked of it."""
    fields = {"type": shapes.exactly(kind), **(required or {})}
    return shapes.record({**fields, **_optional(optional or {})}, required=fields)


def _other(*kinds: str) -> Shape:
    """An object of a type that is none of ``kinds``: the model's to judge."""
    kind = {**shapes.TEXT, "not": {"enum": list(kinds)}}
    return shapes.record({"type": kind}, required=("type",))


def _name(most: int) -> Shape:
    return shapes.text(least=1, most=most, pattern="^[a-zA-Z0-9_-]+$")


_NAMED: dict[str, Shape] = {"name": shapes.TEXT}
_LABELLED: dict[str, Shape] = {"server_label": shapes.TEXT}

_TOOLS: dict[str, Shape] = {
    "FunctionTool": _typed(
        "function", {"name": _name(parameters.FUNCTION_NAME_LENGTH_MAX)}, parameters.FUNCTION
    ),
    "CustomTool": _typed("custom", _NAMED),
    "McpTool": _typed("mcp", _LABELLED),
    "HostedTool": _other("function", "custom", "mcp"),
}
_CHOICES: dict[str, Shape] = {
    "FunctionToolChoice": _typed("function", _NAMED),
    "CustomToolChoice": _typed("custom", _NAMED),
    "McpToolChoice": _typed("mcp", _LABELLED),
    "AllowedToolsChoice": _typed(
        "allowed_tools",
        {"mode": shapes.one_of(parameters.MODES), "tools": shapes.array(shapes.OBJECT)},
    ),
    "HostedToolChoice": _other("function", "custom", "mcp", "allowed_tools"),
}
_FORMATS: dict[str, Shape] = {
    "TextFormat": _typed("text"),
    "JsonObjectFormat": _typed("json_object"),
    "JsonSchemaFormat": _typed(
        "json_schema",
        {"name": _name(parameters.FORMAT_NAME_LENGTH_MAX), "schema": shapes.OBJECT},
        parameters.FORMAT,
    ),
}

_VARIABLE = shapes.record({"type": shapes.one_of(parameters.VARIABLE_TYPES)}, required=("type",))
_VARIABLES = shapes.mapping(shapes.any_of(shapes.TEXT, _VARIABLE))
_SHAPES: dict[object, Shape] = {
    metadata: METADATA,
    checks.included: shapes.array(shapes.one_of(checks.INCLUDABLE)),
    parameters.text_format: shapes.any_named(_FORMATS),
    parameters.tools: shapes.array(shapes.ref("Tool")),
    parameters.tool_choice: shapes.any_of(
        shapes.one_of(parameters.CHOICES), *(shapes.ref(name) for name in _CHOICES)
    ),
    parameters.context_management: shapes.array(
        _typed("compaction", optional=parameters.COMPACTION), least=1
    ),
    parameters.prompt: shapes.record(
        {
            "id": shapes.TEXT,
            "version": shapes.nullable(shapes.TEXT),
            "variables": shapes.nullable(_VARIABLES),
        },
        required=("id",),
    ),
    parameters.moderation: shapes.record(
        {"model": shapes.TEXT, **_optional({"policy": parameters.POLICY})}, required=("model",)
    ),
}
"""What those checks let through that are more than a word."""
