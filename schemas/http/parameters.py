"""What each parameter of a request to the model may be (contract 1.3).

What is not looked at here, like the inside of hosted tools, is the model's to judge.
"""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from schemas.http import checks, known
from schemas.http.checks import Fields
from schemas.http.errors import Invalid
from schemas.http.metadata import metadata

Check = Callable[[msgspec.Raw, str], object]
"""Raw JSON and its name to whatever it says; raises `Invalid`."""

FUNCTION_NAME_LENGTH_MAX = 128
FORMAT_NAME_LENGTH_MAX = 64
COMPACT_THRESHOLD_MIN = 1000
IDENTIFIER_LENGTH_MAX = 128
"""Of ``user`` and ``safety_identifier``; the specification says 64, the newer SDK 128."""
CACHE_KEY_LENGTH_MAX = 64
SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
CHOICES = ("none", "auto", "required")
MODES = ("auto", "required")
VARIABLE_TYPES = ("input_text", "input_image", "input_file")
COMPLETION_WINDOWS = ("soonest", "2h", "8h")

FORMAT: dict[str, Check] = {"strict": checks.boolean, "description": checks.text}
FUNCTION: dict[str, Check] = {**FORMAT, "parameters": checks.an_object}
COMPACTION: dict[str, Check] = {
    "compact_threshold": partial(checks.integer, least=COMPACT_THRESHOLD_MIN)
}
_EFFORT = f"one of one of {checks.listed(EFFORTS, 'or')} or integer"
"""What the API this stands in for says in so many words."""


def one_of(*supported: str) -> Check:
    """A check for one of the written values."""
    return partial(checks.choice, supported=supported)


def check(given: Fields, rules: Mapping[str, Check], *, names: known.Names | None) -> None:
    """Raise for the first wrong parameter in the order of ``rules``; none is null.

    With ``names``, members these do not list are refused inside of parameters too.
    """
    for name in rules:
        if name in given:
            if names is not None:
                known.refuse_unknown_inside(given[name], names[name], name)
            rules[name](given[name], name)


def record(raw: msgspec.Raw, param: str, /, **rules: Check) -> Fields:
    """An object, the members that are there checked."""
    members = checks.fields(raw, param)
    _check_members(members, param, rules)
    return members


def _check_members(members: Fields, param: str, rules: Mapping[str, Check]) -> None:
    for name, rule in rules.items():
        value = members.get(name)
        if value is not None and not checks.is_null(value):
            rule(value, f"{param}.{name}")


def _member(members: Fields, param: str, name: str) -> tuple[msgspec.Raw, str]:
    """A member that must be there, and what errors call it."""
    if name not in members:
        raise checks.missing(f"{param}.{name}")
    return members[name], f"{param}.{name}"


def text_format(raw: msgspec.Raw, param: str) -> None:
    """How the answer is written."""
    members = checks.fields(raw, param)
    kind = checks.choice(
        *_member(members, param, "type"), supported=("json_object", "text", "json_schema")
    )
    if kind == "json_schema":
        checks.name(*_member(members, param, "name"), most=FORMAT_NAME_LENGTH_MAX)
        checks.fields(*_member(members, param, "schema"))
        _check_members(members, param, FORMAT)


def tools(raw: msgspec.Raw, param: str) -> None:
    """What the model may call."""
    for index, value in enumerate(checks.array(raw, param, expected="an array of tools")):
        _tool(value, f"{param}[{index}]")


def _tool(raw: msgspec.Raw, param: str) -> None:
    members = checks.fields(raw, param)
    match checks.text(*_member(members, param, "type")):
        case "function":
            checks.name(*_member(members, param, "name"), most=FUNCTION_NAME_LENGTH_MAX)
            _check_members(members, param, FUNCTION)
        case "custom":
            checks.text(*_member(members, param, "name"))
        case "mcp":
            checks.text(*_member(members, param, "server_label"))
        case _:
            pass


def tool_choice(raw: msgspec.Raw, param: str) -> None:
    """Which of the tools the model may or must call."""
    if checks.first_byte(raw) != b"{":
        expected = f"one of an object or {checks.listed(CHOICES, 'or')}"
        checks.choice(raw, param, supported=CHOICES, expected=expected)
        return
    members = checks.fields(raw, param)
    match checks.text(*_member(members, param, "type")):
        case "function" | "custom":
            checks.text(*_member(members, param, "name"))
        case "mcp":
            checks.text(*_member(members, param, "server_label"))
        case "allowed_tools":
            checks.choice(*_member(members, param, "mode"), supported=MODES)
            allowed, place = _member(members, param, "tools")
            for index, tool in enumerate(
                checks.array(allowed, place, expected="an array of tools")
            ):
                checks.fields(tool, f"{place}[{index}]")
        case _:
            pass


def context_management(raw: msgspec.Raw, param: str) -> None:
    """When the window is compacted within the turn."""
    entries = checks.array(raw, param, least=1, expected="an array of objects")
    for index, value in enumerate(entries):
        place = f"{param}[{index}]"
        members = checks.fields(value, place)
        kind = checks.text(*_member(members, place, "type"))
        if kind != "compaction":
            raise Invalid(
                f"Unsupported context_management type: '{checks.told(kind)}'.", param=param
            )
        _check_members(members, place, COMPACTION)


def prompt(raw: msgspec.Raw, param: str) -> None:
    """A template and what it is filled with."""
    members = record(raw, param, version=checks.text, variables=_variables)
    checks.text(*_member(members, param, "id"))


def _variables(raw: msgspec.Raw, param: str) -> None:
    for name, value in checks.fields(raw, param).items():
        place = f"{param}.{name}"
        if checks.first_byte(value) != b"{":
            checks.text(value, place)
            continue
        checks.choice(
            *_member(checks.fields(value, place), place, "type"),
            supported=VARIABLE_TYPES,
        )


_MODERATED = partial(record, mode=one_of("score", "block"))
POLICY = partial(record, input=_MODERATED, output=_MODERATED)


def moderation(raw: msgspec.Raw, param: str) -> None:
    """What is checked of input and output."""
    members = record(raw, param, policy=POLICY)
    checks.text(*_member(members, param, "model"))


_SUMMARY = one_of("concise", "detailed", "auto")
REASONING = partial(
    record,
    effort=partial(checks.choice, supported=EFFORTS, expected=_EFFORT),
    summary=_SUMMARY,
    generate_summary=_SUMMARY,
    context=one_of("auto", "current_turn", "all_turns"),
    mode=checks.text,
)
IMAGE = partial(record, context_compression=one_of("auto", "enabled", "disabled"))
CACHE_KEY = partial(checks.text, most=CACHE_KEY_LENGTH_MAX)
CACHE_RETENTION = one_of("in_memory", "24h")
TRUNCATION = one_of("auto", "disabled")
_PENALTY = partial(checks.number, least=-2, most=2)

CREATE: dict[str, Check] = {
    "prompt": prompt,
    "moderation": moderation,
    "include": checks.included,
    "tools": tools,
    "tool_choice": tool_choice,
    "metadata": metadata,
    "text": partial(record, format=text_format, verbosity=one_of("low", "medium", "high")),
    "temperature": partial(checks.number, least=0, most=2),
    "top_p": partial(checks.number, least=0, most=1),
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "parallel_tool_calls": checks.boolean,
    "stream": checks.boolean,
    "stream_options": partial(record, include_obfuscation=checks.boolean),
    "background": checks.boolean,
    "background_options": partial(
        record, completion_window=one_of(*COMPLETION_WINDOWS), continuation_id=checks.text
    ),
    "max_output_tokens": partial(checks.integer, least=16),
    "max_tool_calls": partial(checks.integer, least=1),
    "reasoning": REASONING,
    "user": partial(checks.text, most=IDENTIFIER_LENGTH_MAX),
    "safety_identifier": partial(checks.text, most=IDENTIFIER_LENGTH_MAX),
    "prompt_cache_options": partial(
        record,
        mode=one_of("implicit", "explicit"),
        ttl=one_of("30m", "12h"),
        comparison_response_id=checks.text,
        prewarm=checks.boolean,
    ),
    "prompt_cache_key": CACHE_KEY,
    "prompt_cache_retention": CACHE_RETENTION,
    "truncation": TRUNCATION,
    "instructions": checks.text,
    "store": checks.boolean,
    "service_tier": one_of(*SERVICE_TIERS),
    "top_logprobs": partial(checks.integer, least=0, most=20),
    "context_management": context_management,
    "image": IMAGE,
    "access_programs": partial(record, cyber=one_of("standard", "daybreak_blue", "daybreak_red")),
}
"""Parameters of ``POST /responses`` in the order they are checked in, so that the same wrong
request yields the same error."""

INPUT_TOKENS: dict[str, Check] = {
    **{name: CREATE[name] for name in ("tools", "tool_choice", "text", "parallel_tool_calls")},
    "reasoning": REASONING,
    "truncation": TRUNCATION,
    "instructions": checks.text,
    "personality": partial(checks.text, most=64),
}
"""Parameters of ``POST /responses/input_tokens`` (contract 5.4)."""

COMPACT: dict[str, Check] = {
    "prompt_cache_options": partial(record, mode=one_of("implicit", "explicit"), ttl=one_of("30m")),
    "prompt_cache_key": CACHE_KEY,
    "prompt_cache_retention": CACHE_RETENTION,
    "instructions": checks.text,
    "service_tier": one_of("auto", "default", "fast", "flex", "priority"),
    "image": IMAGE,
}
"""Parameters of ``POST /responses/compact`` (contract 5.3)."""
