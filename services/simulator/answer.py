"""From what the model was sent to what it answers: the same answer for the same request, always.

Pure: no clock, no randomness, no memory of earlier requests. How an answer is put on the wire is
the business of ``responses`` and ``chat_completions``.
"""

import base64
import hashlib
import itertools
import re
from collections.abc import Sequence

import msgspec

from services.simulator import directives as orders
from services.simulator.anchors import OPENING, facts_of, summary_of
from services.simulator.directives import Directives
from services.simulator.entries import (
    CHARACTERS_PER_TOKEN,
    Entry,
    digest_of,
    fingerprint_of,
    tokens_in,
    tokens_of,
)
from services.simulator.tool_calls import Choice, Tool, choose

REASONING_MODEL = "simulator-reasoning"
MODELS = ("simulator", REASONING_MODEL)
"""The models that are listed; any other name answers like the first."""

FACTS_MAX = 16
SAID_LENGTH_MAX = 200
OUTPUT_LENGTH_MAX = 300

_PIECE = re.compile(r"\s*\S{1,24}|\s+")
_FILLER = ("and", "I", "am", "glad", "to", "help", "you", "with", "this", "step", "by", "step")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request of either API, as far as the answer depends on it."""

    model: str
    entries: tuple[Entry, ...]
    tools: tuple[Tool, ...] = ()
    tools_tokens: int = 0
    choice: Choice = Choice()
    parallel: bool = True
    tokens_max: int | None = None
    """Most tokens the answer may have."""


class Call(msgspec.Struct, frozen=True):
    """A tool call in an answer."""

    call_id: str
    name: str
    arguments: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be put on the wire: a text or calls, and the trouble that was ordered."""

    text: str
    calls: tuple[Call, ...]
    reasoning: str | None
    encrypted: str
    """The opaque form of ``reasoning``; sent only to who asks for it."""
    status: str
    """``completed``, ``incomplete`` (of length) or ``failed``."""
    error: int | None
    drop: bool
    delay_s: float
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int


def plan(ask: Ask) -> Answer:
    """The answer to a request."""
    entries = ask.entries
    summarise = bool(entries) and _wants_summary(entries[0])
    # What is summarised is quoted, not obeyed.
    ordered = Directives() if summarise else orders.read(_last_user_text(entries))
    digest = fingerprint_of(entries)
    calls = () if summarise or ordered.fail else _calls(ask, ordered, digest)
    text = ""
    if not calls:
        text = summary_of(entries[1:]) if summarise else _text(entries, ordered)
    text, status = _cut(text, ordered, tokens_max=ask.tokens_max)
    reasoning = _reasoning(ask)
    reasoning_tokens = tokens_in(reasoning or "")
    spoken = tokens_in(text) + sum(tokens_in(call.name + call.arguments) + 3 for call in calls)
    return Answer(
        text=text,
        calls=calls,
        reasoning=reasoning,
        encrypted=_encrypted(digest),
        status=status,
        error=ordered.error,
        drop=ordered.drop,
        delay_s=ordered.delay_s,
        input_tokens=tokens_of(entries) + ask.tools_tokens,
        output_tokens=spoken + reasoning_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def pieces(text: str) -> list[str]:
    """A text in the pieces it is streamed in: a word each, with the space before it."""
    return _PIECE.findall(text)


def _wants_summary(first: Entry) -> bool:
    return first.role == "system" and first.text.lstrip()[:9].lower() in ("summarise", "summarize")


def _last_user_text(entries: Sequence[Entry]) -> str:
    for entry in reversed(entries):
        if entry.role == "user" and entry.type == "message":
            return entry.text
    return ""


def _calls(ask: Ask, ordered: Directives, digest: str) -> tuple[Call, ...]:
    chosen = choose(ask.entries, ordered, tools=ask.tools, choice=ask.choice)
    if not ask.parallel:
        chosen = chosen[:1]
    return tuple(
        Call(
            "call_" + hashlib.sha256(f"{digest} {index}".encode()).hexdigest()[:24],
            name,
            arguments,
        )
        for index, (name, arguments) in enumerate(chosen)
    )


def _text(entries: Sequence[Entry], ordered: Directives) -> str:
    if ordered.say is not None:
        return ordered.say
    count = len(entries)
    noun = "item" if count == 1 else "items"
    sentences = [f"{OPENING}{count} {noun} (digest {digest_of(entries)})."]
    if ordered.rest:
        sentences.append(f"You said: {_ended(ordered.rest[:SAID_LENGTH_MAX])}")
    sentences.extend(_outputs(entries))
    facts = facts_of(entries[: _last_user_index(entries)], most=FACTS_MAX)
    if facts:
        sentences.append(f"I remember: {', '.join(facts)}.")
    text = " ".join(sentences)
    return text if ordered.words is None else _of_words(text, ordered.words)


def _last_user_index(entries: Sequence[Entry]) -> int:
    for index in range(len(entries) - 1, -1, -1):
        if entries[index].role == "user":
            return index
    return len(entries)


def _outputs(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each tool output since the model last spoke."""
    recent = list(
        itertools.takewhile(lambda e: e.type == "function_call_output", reversed(entries))
    )
    if not recent:
        return []
    names: dict[str, str] = {}
    for entry in entries:
        if entry.type == "function_call":
            call_id, name, *_ = entry.text.split(" ", 2)
            names[call_id] = name
    told = []
    for entry in reversed(recent):
        call_id, _, output = entry.text.partition(" ")
        told.append(f"{names.get(call_id, 'A tool')} says: {_ended(output[:OUTPUT_LENGTH_MAX])}")
    return told


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _of_words(text: str, count: int) -> str:
    words = itertools.chain(text.split(), itertools.cycle(_FILLER))
    return " ".join(itertools.islice(words, count))


def _cut(text: str, ordered: Directives, *, tokens_max: int | None) -> tuple[str, str]:
    length = len(text)
    if ordered.incomplete or ordered.fail:
        length = (length + 1) // 2
    if tokens_max is not None:
        length = min(length, tokens_max * CHARACTERS_PER_TOKEN)
    cut = text[:length]
    if ordered.fail:
        return cut, "failed"
    return cut, "incomplete" if ordered.incomplete or length < len(text) else "completed"


def _reasoning(ask: Ask) -> str | None:
    if ask.model != REASONING_MODEL:
        return None
    return f"I look at what I was sent, {len(ask.entries)} in all, and answer what was said last."


def _encrypted(digest: str) -> str:
    return "gAAAAA" + base64.urlsafe_b64encode(bytes.fromhex(digest) * 2).decode()
