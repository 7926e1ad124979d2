"""The window as an upstream reads it: the same items give the same bytes, every time."""

import msgspec

from schemas import items as stored
from schemas.http import checks
from services.conversation.history import Item
from services.sealing import Sealer

SUMMARY_INTRODUCTION = (
    "Summary of the conversation so far, which replaces its earlier messages:\n\n"
)

_NOT_SENT = frozenset(
    {
        # How the turn is run and told, what is kept of it, and what of the history is sent.
        *("background", "background_options", "context_management", "metadata", "store"),
        *("stream", "truncation"),
        # Sent by its own name.
        "model",
    }
)
"""Parameters that are about state, which is kept here and not upstream.

All others are for the upstream to judge, those nobody here has heard of included.
"""
_OUR_RESPONSE = "comparison_response_id"
"""Member of ``prompt_cache_options`` that names a response the upstream has never seen."""

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(checks.Fields).decode


def parameters(given: checks.Fields) -> checks.Fields:
    """The parameters the upstream must judge."""
    sent = {name: raw for name, raw in given.items() if name not in _NOT_SENT}
    if "prompt_cache_options" in sent:
        options = _fields(sent["prompt_cache_options"])
        options.pop(_OUR_RESPONSE, None)
        sent["prompt_cache_options"] = msgspec.Raw(_encode(options))
    return sent


def window(items: tuple[Item, ...], sealer: Sealer) -> tuple[Item, ...]:
    """Items in forms every upstream takes.

    A compaction becomes a developer's message, since only we can open it. Reasoning that carries
    no encrypted content is left out: an upstream that stores nothing knows it by id no more.
    """
    sent: list[Item] = []
    for item in items:
        if item.type == "compaction":
            sent.append(msgspec.structs.replace(item, type="message", raw=_summary(item, sealer)))
        elif item.type != "reasoning" or _readable(item.raw):
            sent.append(item)
    return tuple(sent)


def _summary(item: Item, sealer: Sealer) -> msgspec.Raw:
    text = SUMMARY_INTRODUCTION + sealer.open(stored.sealed(item.raw))
    part = {"type": "input_text", "text": text}
    return msgspec.Raw(_encode({"type": "message", "role": "developer", "content": [part]}))


def _readable(raw: msgspec.Raw) -> bool:
    return not checks.is_null(_fields(raw).get("encrypted_content"))
