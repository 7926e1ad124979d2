"""Summaries by the model: items in, a text out that stands for them from then on."""

from collections.abc import Sequence

import msgspec

from schemas import items as stored
from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.responses import Usage
from services.conversation.history import Item, item_of
from services.model import Call, Model
from services.sealing import Sealer, Unreadable

INSTRUCTIONS = (
    "Summarise the conversation you are shown, for the assistant who will continue it without "
    "seeing it. Keep every fact that may be asked for again: names, numbers, identifiers, dates, "
    "paths, addresses, decisions, open questions, results of tools. Leave out greetings and "
    "repetition. Write plain sentences, no introduction."
)
_REQUEST = "Summarise the conversation above."

_encode = msgspec.json.Encoder().encode


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the model made of the items, and its provider's count of the call.

    ``text`` is empty if it made nothing that may stand for them: half a summary is none.
    """

    text: str
    usage: msgspec.Raw


async def summarise(
    model: Model,
    items: Sequence[Item],
    *,
    carried: str,
    model_name: str,
    parameters: Fields | None = None,
) -> Summary:
    """A summary of ``items``, the earlier one in front of it as it is.

    ``parameters`` are the caller's own; their instructions are added to ours. Without items there
    is nothing to ask. Raises `ModelRefused` or `ModelUnavailable`.
    """
    if not items:
        return Summary(text=carried, usage=msgspec.Raw(_encode(Usage())))
    answer = await model.complete(_call(items, model_name, parameters or {}))
    said = answered_text(answer.items) if answer.status == "completed" else ""
    return Summary(text=f"{carried}\n\n{said}".strip() if said else "", usage=answer.usage)


def opened(
    earlier: Item | None, items: tuple[Item, ...], sealer: Sealer
) -> tuple[str, tuple[Item, ...]]:
    """The text to carry over, and what to summarise.

    A summary that an upstream made, and only that can open, is summarised with the rest.
    """
    if earlier is None:
        return "", items
    try:
        return sealer.open(stored.sealed(earlier.raw)), items
    except Unreadable:
        return "", (earlier, *items)


def _call(items: Sequence[Item], model_name: str, given: Fields) -> Call:
    text = msgspec.Raw(_encode(_REQUEST))
    request = item_of(stored.from_text(text, mint=lambda prefix: f"{prefix}_request"), tokens=1)
    instructions = INSTRUCTIONS
    if not checks.is_null(given.get("instructions")):
        instructions = f"{INSTRUCTIONS}\n\n{checks.plain(given['instructions'])}"
    return Call(
        model=model_name,
        items=(*items, request),
        parameters={**given, "instructions": msgspec.Raw(_encode(instructions))},
    )


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
