"""The summarising prompt, and what a summary must be worth to be stored (pure)."""

import msgspec

from schemas import items
from schemas.http.checks import Fields
from services.conversation.compaction import Plan
from services.conversation.history import Item, item_of
from services.model import Call

INSTRUCTIONS = (
    "Summarise the conversation you are shown, for the assistant who will continue it without "
    "seeing it. Keep every fact that may be asked for again: names, numbers, identifiers, dates, "
    "paths, addresses, decisions, open questions, results of tools. Leave out greetings and "
    "repetition. Write plain sentences, no introduction."
)
_REQUEST = "Summarise the conversation above."

_encode = msgspec.json.Encoder().encode


def call(plan: Plan, model: str) -> Call:
    """The call that summarises what a plan covers."""
    text = msgspec.Raw(_encode(_REQUEST))
    request = item_of(items.from_text(text, mint=lambda prefix: f"{prefix}_request"), tokens=1)
    parameters: Fields = {"instructions": msgspec.Raw(_encode(INSTRUCTIONS))}
    return Call(model=model, items=(*plan.items, request), parameters=parameters)


def joined(plan: Plan, answer: str) -> str:
    """Earlier summaries as they are, the new one behind them."""
    return f"{plan.carried}\n\n{answer}".strip()


def worth_it(plan: Plan, tokens: int) -> bool:
    """Whether a summary of ``tokens`` makes the window smaller."""
    return tokens + plan.tokens_kept < plan.tokens_before


def answered_text(output: tuple[Item, ...]) -> str:
    """The text of an answer."""
    return "\n".join(
        part for item in output if item.type == "message" for part in _texts(item.raw)
    ).strip()


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    content: tuple[_Part, ...] = ()


_message = msgspec.json.Decoder(_Message).decode


def _texts(raw: msgspec.Raw) -> list[str]:
    return [part.text for part in _message(raw).content if part.text]
