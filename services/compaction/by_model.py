"""Summaries by the model that answers the turns: its words, and the anchors it names itself."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas import items as stored
from schemas.http import checks
from schemas.http.checks import Fields
from services.compaction import Covered, Draft, MethodName, prompts
from services.conversation.history import item_of
from services.conversation.words import text_of
from services.model import Call, Model

_PREFIX = (
    "instructions",
    "tools",
    "parallel_tool_calls",
    "reasoning",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
)
"""Parameters of a turn that its prompt begins with, or that say who pays and where it is cached.

Not those that shape an answer: a summary has no format, length or randomness of its asker's.
"""
_HEADING = re.compile(r"^\W*anchors\W*$", re.IGNORECASE | re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_FENCED = re.compile(r"\A```\w*\n(.*)\n```\Z", re.DOTALL)
_NO_TOOL = msgspec.Raw(b'"none"')

_encode = msgspec.json.Encoder().encode
# Unlike `json` it lets no half of a surrogate pair in, which nothing could write again.
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class ByModel:
    """Asks for a summary behind the beginning of the window, as turns are sent that."""

    name: MethodName = "summary"

    def __init__(self, model: Model) -> None:
        """``model`` is asked once for each summary."""
        self._model = model

    async def draft(self, covered: Covered) -> Draft:
        """As the protocol says; half a summary is none."""
        answer = await self._model.complete(_call(covered))
        if answer.status != "completed":
            return Draft(usage=answer.usage)
        text, listed = read(answered_text(answer.items))
        return Draft(text=text, listed=listed, usage=answer.usage)


def prefix(given: Fields) -> Fields:
    """Of a turn's parameters those a summary of its window is asked for with."""
    kept = {name: given[name] for name in _PREFIX if not checks.is_null(given.get(name))}
    if "tools" in kept:
        kept["tool_choice"] = _NO_TOOL
    return kept


def read(said: str) -> tuple[str, tuple[str, ...]]:
    """The summary in a model's answer, and the anchors it lists; not every model does as asked."""
    fenced = _FENCED.match(said)
    said = fenced[1].strip() if fenced else said
    if said.startswith("{") and (found := _of_json(said)):
        return found
    headings = list(_HEADING.finditer(said))
    if not headings:
        return said, ()
    lines = said[headings[-1].end() :].splitlines()
    listed = (_BULLET.sub("", line).strip() for line in lines)
    return said[: headings[-1].start()].strip(), tuple(line for line in listed if line)


class _Part(msgspec.Struct):
    text: str = ""


class _Output(msgspec.Struct):
    type: str = ""
    content: tuple[_Part, ...] | None = ()


_output = msgspec.json.Decoder(_Output).decode


def answered_text(output: Sequence[msgspec.Raw]) -> str:
    """The text of an answer's messages."""
    return "\n".join(
        part.text
        for item in map(_output, output)
        if item.type == "message"
        for part in item.content or ()
        if part.text
    ).strip()


def _call(covered: Covered) -> Call:
    first = text_of(covered.items[0]) if covered.carried and covered.items else ""
    asked = prompts.request(tokens_wanted=covered.tokens_wanted, first=first)
    text = msgspec.Raw(_encode(asked))
    request = item_of(stored.from_text(text, mint=lambda kind: f"{kind}_request"), tokens=1)
    return Call(
        model=covered.model_name,
        items=(*covered.shown, request),
        parameters=prefix(covered.parameters),
    )


def _of_json(said: str) -> tuple[str, tuple[str, ...]] | None:
    try:
        value = _decode(said)
    except (msgspec.DecodeError, RecursionError):
        return None
    text, listed = value.get("summary"), value.get("anchors")
    if not isinstance(text, str):
        return None
    named = listed if isinstance(listed, list) else ()
    return text.strip(), tuple(each for each in named if isinstance(each, str))
