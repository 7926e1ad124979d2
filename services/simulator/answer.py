"""From what the model was sent to what it answers: the same answer for the same request, always.

Pure: no clock, no randomness, no memory of earlier requests. How an answer is put on the wire is
the business of ``responses`` and ``chat_completions``.
"""

import base64
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.simulator import directives as orders
from services.simulator import hosted_tools, questions
from services.simulator.anchors import OPENING, facts_of, summary_of
from services.simulator.directives import Delivery, Directives
from services.simulator.entries import (
    CHARACTERS_PER_TOKEN,
    DIGEST_LENGTH,
    Entry,
    fingerprint_of,
    tokens_in,
    tokens_of,
)
from services.simulator.examples import example_of
from services.simulator.faults import Trouble
from services.simulator.hosted_tools import Offer, Use
from services.simulator.tool_calls import Choice, Chosen, Tool, choose

REASONING_MODEL = "simulator-reasoning"
FORGETFUL_MODEL = "simulator-forgetful"
"""As the first, but its summaries lose details, as real ones do: see `forgetting`."""
MODELS = ("simulator", REASONING_MODEL, FORGETFUL_MODEL)
"""The models that are listed; any other name answers like the first."""

FACTS_MAX = 16
SAID_LENGTH_MAX = 200
OUTPUT_LENGTH_MAX = 300

_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset(
    {
        "function_call_output",
        "custom_tool_call_output",
        "computer_call_output",
        "shell_call_output",
        "local_shell_call_output",
        "apply_patch_call_output",
        "mcp_approval_response",
        "tool_search_output",
    }
)
"""What clients send for what the model asked of them."""

SUMMARISE = "Summarise the conversation above"
"""How the last item of a request begins that wants all in front of it summarised."""
SUMMARY = "Summary of the conversation so far"
_ADDED = "opens with a summary"
"""What such a request says when that is to be left as it is."""
_SUMMARISE = ("summarise", "summarize")
_AT_MOST = re.compile(r"at most (\d{1,6}) words")

_PIECE = re.compile(r"\s*\S{1,24}|\s+")
_encode = msgspec.json.Encoder().encode
_FILLER = ("and", "I", "am", "glad", "to", "help", "you", "with", "this", "step", "by", "step")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request of either API, as far as the answer depends on it."""

    model: str
    entries: tuple[Entry, ...]
    tools: tuple[Tool, ...] = ()
    tools_tokens: int = 0
    offer: Offer = Offer()
    choice: Choice = Choice()
    parallel: bool = True
    tokens_max: int | None = None
    """Most tokens the answer may have."""
    schema: Mapping[str, Any] | None = None
    """What a structured answer has to fit."""


class Call(msgspec.Struct, frozen=True):
    """A tool call in an answer; ``arguments`` are the input of a custom tool."""

    call_id: str
    name: str
    arguments: str
    custom: bool = False
    namespace: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be put on the wire, and the trouble that was ordered."""

    text: str
    refused: bool
    """Whether ``text`` is a refusal."""
    calls: tuple[Call, ...]
    uses: tuple[Use, ...]
    commentary: str | None
    """What is said before the calls, or before the text."""
    reasoning: str | None
    reasoning_form: str
    """``summary``, ``text`` or ``both``."""
    encrypted: str
    """The opaque form of ``reasoning``; sent only to who asks for it."""
    status: str
    """``completed``, ``incomplete`` or ``failed``."""
    reason: str | None
    """Why it is incomplete, or the code it failed with."""
    delivery: Delivery
    trouble: Trouble
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int

    @property
    def speaks(self) -> bool:
        """Whether it ends with a message, and not with something the client has to do."""
        return not self.calls and not any(use.waits for use in self.uses)


def last_user_text(entries: Sequence[Entry]) -> str:
    """What the user said last, which is where directives are."""
    for entry in reversed(entries):
        if entry.role == "user" and entry.type == "message":
            return entry.text
    return ""


def orders_of(ask: Ask) -> Directives:
    """What a request orders; nothing if it wants a summary: that is quoted, not obeyed."""
    if _wants_summary(ask.entries):
        return Directives()
    return orders.read(last_user_text(ask.entries))


def too_long(ask: Ask) -> bool:
    """Whether a request is more than its model takes: names may end with so many tokens."""
    name, _, tokens = ask.model.rpartition("-")
    limited = name.startswith(MODELS[0]) and tokens.isdecimal()
    return limited and _input_tokens(ask) > int(tokens)


def _input_tokens(ask: Ask) -> int:
    return tokens_of(ask.entries) + ask.tools_tokens


def plan(ask: Ask, ordered: Directives | None = None) -> Answer:
    """The answer to a request; ``ordered`` is what it orders, unless some of that is over."""
    entries = ask.entries
    ordered = ordered or orders_of(ask)
    trouble = ordered.trouble
    failed = trouble.failed or ("server_error" if trouble.error_event else None)
    digest = fingerprint_of(entries)
    calls: tuple[Call, ...] = ()
    uses: tuple[Use, ...] = ()
    text = ordered.refuse
    if _wants_summary(entries):
        most = _AT_MOST.search(entries[-1].text)
        text = summary_of(
            _to_summarise(entries),
            words_max=int(most[1]) if most else None,
            forgetful=ask.model.startswith(FORGETFUL_MODEL),
        )
    elif not failed and text is None:
        calls, uses = _tools(ask, ordered, digest)
    if text is None:
        text = "" if calls else _text(ask, ordered, digest)
    text, status = _cut(text, ordered, failed=bool(failed), tokens_max=ask.tokens_max)
    if calls and status == "incomplete":
        calls = (*calls[:-1], _half(calls[-1]))
    reasoning = _reasoning(ask, ordered)
    reasoning_tokens = tokens_in(reasoning or "")
    spoken = tokens_in(text) + sum(tokens_in(call.name + call.arguments) + 3 for call in calls)
    return Answer(
        text=text,
        refused=ordered.refuse is not None,
        calls=calls,
        uses=uses,
        commentary=ordered.commentary,
        reasoning=reasoning,
        reasoning_form=ordered.reasoning or "summary",
        encrypted=_encrypted(digest),
        status=status,
        reason=failed or ordered.incomplete or "max_output_tokens",
        delivery=ordered.delivery,
        trouble=trouble,
        input_tokens=_input_tokens(ask),
        output_tokens=spoken + tokens_in(ordered.commentary or "") + reasoning_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def pieces(text: str) -> list[str]:
    """A text in the pieces it is streamed in: a word each, with the space before it."""
    return _PIECE.findall(text)


def _wants_summary(entries: Sequence[Entry]) -> bool:
    return bool(entries) and (
        entries[-1].text.startswith(SUMMARISE)
        or (entries[0].role == "system" and entries[0].text.lstrip()[:9].lower() in _SUMMARISE)
    )


def _to_summarise(entries: Sequence[Entry]) -> Sequence[Entry]:
    """What is to be told: not the request, and no earlier summary that is kept beside it."""
    if not entries[-1].text.startswith(SUMMARISE):
        return entries[1:]
    told = entries[:-1]
    if told and told[0].role == "system" and not told[0].text.startswith(SUMMARY):
        told = told[1:]
    added = _ADDED in entries[-1].text
    return [entry for entry in told if not (added and entry.text.startswith(SUMMARY))]


def _tools(ask: Ask, ordered: Directives, digest: str) -> tuple[tuple[Call, ...], tuple[Use, ...]]:
    """The calls and the uses of hosted tools, of which a model that has to makes at least one."""
    uses = hosted_tools.choose(ask.entries, ordered, offer=ask.offer, choice=ask.choice)
    if not (uses or ask.tools or ask.offer.tools or ordered.calls):
        return (), ()
    required = ask.choice.mode == "required" and not uses
    chosen = choose(ask.entries, ordered, tools=ask.tools, choice=ask.choice, required=required)
    if required and not chosen and ask.choice.names is None:
        uses = hosted_tools.first(ordered, offer=ask.offer)
    if not ask.parallel:
        chosen = chosen[:1]
    calls = tuple(_call(one, _call_id(digest, index)) for index, one in enumerate(chosen))
    return calls, tuple(
        msgspec.structs.replace(use, call_id=_call_id(digest, len(calls) + index))
        for index, use in enumerate(uses)
    )


def _call(chosen: Chosen, call_id: str) -> Call:
    return Call(call_id, chosen.name, chosen.text, chosen.custom, chosen.namespace)


def _call_id(digest: str, index: int) -> str:
    return "call_" + hashlib.sha256(f"{digest} {index}".encode()).hexdigest()[:24]


def _half(call: Call) -> Call:
    half = call.arguments[: (len(call.arguments) + 1) // 2]
    return msgspec.structs.replace(call, arguments=half)


def _text(ask: Ask, ordered: Directives, digest: str) -> str:
    if ordered.say is not None:
        return ordered.say
    entries = ask.entries
    if questions.asked(entries):
        return questions.answers(entries)
    count = len(entries)
    noun = "item" if count == 1 else "items"
    sentences = [f"{OPENING}{count} {noun} (digest {digest[:DIGEST_LENGTH]})."]
    if ordered.rest:
        sentences.append(f"You said: {_ended(ordered.rest[:SAID_LENGTH_MAX])}")
    sentences.extend(_outputs(entries))
    facts = facts_of(entries[: _last_user_index(entries)], most=FACTS_MAX)
    if facts:
        sentences.append(f"I remember: {', '.join(facts)}.")
    text = " ".join(sentences)
    if ask.schema is not None:
        return _encode(example_of(ask.schema, text)).decode()
    return text if ordered.words is None else _of_words(text, ordered.words)


def _last_user_index(entries: Sequence[Entry]) -> int:
    for index in range(len(entries) - 1, -1, -1):
        if entries[index].role == "user":
            return index
    return len(entries)


def _outputs(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each tool output since the model last spoke."""
    recent = list(itertools.takewhile(lambda e: e.type in _OUTPUTS, reversed(entries)))
    if not recent:
        return []
    names: dict[str, str] = {}
    for entry in entries:
        if entry.type in _CALLS:
            call_id, name, *_ = entry.text.split(" ", 2)
            names[call_id] = name
    told = []
    for entry in reversed(recent):
        call_id, _, output = entry.text.partition(" ")
        name = names.get(call_id, "A tool")
        if entry.role != "tool":
            name, output = entry.type.removesuffix("_output"), entry.text
        told.append(f"{name} says: {_ended(output[:OUTPUT_LENGTH_MAX])}")
    return told


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _of_words(text: str, count: int) -> str:
    words = itertools.chain(text.split(), itertools.cycle(_FILLER))
    return " ".join(itertools.islice(words, count))


def _cut(
    text: str, ordered: Directives, *, failed: bool, tokens_max: int | None
) -> tuple[str, str]:
    length = len(text)
    if ordered.incomplete or failed:
        length = (length + 1) // 2
    if tokens_max is not None:
        length = min(length, tokens_max * CHARACTERS_PER_TOKEN)
    cut = text[:length]
    if failed:
        return cut, "failed"
    return cut, "incomplete" if ordered.incomplete or length < len(text) else "completed"


def _reasoning(ask: Ask, ordered: Directives) -> str | None:
    if ask.model != REASONING_MODEL and ordered.reasoning is None:
        return None
    return f"I look at what I was sent, {len(ask.entries)} in all, and answer what was said last."


def _encrypted(digest: str) -> str:
    return "gAAAAA" + base64.urlsafe_b64encode(bytes.fromhex(digest) * 2).decode()
