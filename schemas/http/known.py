"""Names of every parameter, and what a request with other ones is told when it is read strictly.

By default names nobody knows are tolerated, since each release of the SDK brings new ones; a
strict door refuses them, to find misspellings (contract 1.3).
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.errors import Invalid

Names: TypeAlias = Mapping[str, "Names"]
"""Names of an object's members, each with those inside it; with none: whatever is inside."""

DISTANCE_MAX = 2
"""Letters a name may be off for another one to be suggested."""


def _leaves(*names: str) -> dict[str, Names]:
    return {name: {} for name in names}


_FORMAT = _leaves("type", "name", "schema", "strict", "description")
_REASONING = _leaves("effort", "summary", "context", "mode", "generate_summary")
_TEXT: Names = {"format": _FORMAT, "verbosity": {}}
_IMAGE = _leaves("context_compression")
_CONVERSATION = _leaves("id")
_MODERATED = _leaves("mode")

CREATE_RESPONSE: Names = {
    **_leaves("model", "input", "previous_response_id", "instructions", "store", "stream"),
    **_leaves("background", "truncation", "include", "metadata", "max_output_tokens"),
    **_leaves("max_tool_calls", "parallel_tool_calls", "temperature", "top_p", "top_logprobs"),
    **_leaves("presence_penalty", "frequency_penalty", "tools", "tool_choice", "service_tier"),
    **_leaves("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "user"),
    "conversation": _CONVERSATION,
    "prompt": _leaves("id", "version", "variables"),
    "stream_options": _leaves("include_obfuscation"),
    "background_options": _leaves("completion_window", "continuation_id"),
    "context_management": _leaves("type", "compact_threshold"),
    "text": _TEXT,
    "reasoning": _REASONING,
    "prompt_cache_options": _leaves("mode", "ttl", "comparison_response_id", "prewarm"),
    "moderation": {"model": {}, "policy": {"input": _MODERATED, "output": _MODERATED}},
    "image": _IMAGE,
    "access_programs": _leaves("cyber"),
}
INPUT_TOKENS: Names = {
    **_leaves("input", "instructions", "model", "parallel_tool_calls", "personality"),
    **_leaves("previous_response_id", "tool_choice", "tools", "truncation"),
    "conversation": _CONVERSATION,
    "reasoning": _REASONING,
    "text": _TEXT,
}
COMPACT: Names = {
    **_leaves("model", "input", "previous_response_id", "instructions", "prompt_cache_key"),
    **_leaves("prompt_cache_retention", "service_tier"),
    "prompt_cache_options": _leaves("mode", "ttl"),
    "image": _IMAGE,
}
CREATE_CONVERSATION: Names = _leaves("items", "metadata")
UPDATE_CONVERSATION: Names = _leaves("metadata")
CREATE_ITEMS: Names = _leaves("items")


def refuse_unknown(given: Fields, names: Names, *, place: str = "") -> None:
    """Raise for the first of ``given`` that is not one of ``names``; ``place`` goes before it."""
    for name in given:
        if name not in names:
            raise _unknown(name, given, names, place)


def refuse_unknown_inside(raw: msgspec.Raw, names: Names, param: str) -> None:
    """As `refuse_unknown` for all that is inside an object, or inside each object of an array."""
    if not names:
        return
    match checks.first_byte(raw):
        case b"[":
            for index, value in enumerate(checks.array(raw, param)):
                refuse_unknown_inside(value, names, f"{param}[{index}]")
        case b"{":
            given = checks.fields(raw, param)
            refuse_unknown(given, names, place=f"{param}.")
            for name, value in given.items():
                refuse_unknown_inside(value, names[name], f"{param}.{name}")
        case _:
            pass


def _unknown(name: str, given: Fields, names: Names, place: str) -> Invalid:
    meant = [place + near for near in _near(name, [one for one in names if one not in given])]
    suggested = f" Did you mean {checks.listed(meant, 'or')}?" if meant else ""
    return Invalid(
        f"Unknown parameter: '{place}{checks.told(name)}'.{suggested}",
        param=place + name,
        code="unknown_parameter",
    )


def _near(name: str, others: list[str]) -> list[str]:
    """Those at most `DISTANCE_MAX` letters off, nearest first."""
    distances = [
        (_distance(name, other), other)
        for other in others
        if abs(len(name) - len(other)) <= DISTANCE_MAX
    ]
    return [other for distance, other in sorted(distances) if distance <= DISTANCE_MAX]


def _distance(one: str, other: str) -> int:
    """Letters to insert, delete or replace to make one of the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, start=1):
        before, row[0] = row[0], index
        for place, wanted in enumerate(other, start=1):
            before, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, before + (letter != wanted)),
            )
    return row[-1]
