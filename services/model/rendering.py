"""The window as an upstream reads it: the same items give the same bytes, every time."""

import msgspec

from schemas import items as stored
from schemas.http import checks
from services.conversation.history import Item
from services.sealing import Sealer, Unreadable

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

_OUTPUT_ONLY = {"custom_tool_call": ("status",), "custom_tool_call_output": ("status",)}
"""Fields that the output form of a type has and its input form has not (contract 2)."""
_CREATED_BY = b'"created_by"'
_REASONING_NOT_SENT = frozenset({"id", "status", "created_by"})

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
    """Items in forms every upstream takes, without what is only ever output.

    A compaction becomes a developer's message, since only we can open it; one that an upstream made
    goes back as it came. Reasoning goes without the id and the status it has here: its encrypted
    content names the id the model had given it. Without such content it is left out: an upstream
    that stores nothing knows it by no id.
    """
    sent: list[Item] = []
    for item in items:
        match item.type:
            case "message":
                sent.append(item)
            case "compaction":
                sent.append(_summary(item, sealer))
            case "reasoning":
                sent += _reasoning(item)
            case _:
                sent.append(_without_origin(item))
    return tuple(sent)


def _summary(item: Item, sealer: Sealer) -> Item:
    try:
        text = SUMMARY_INTRODUCTION + sealer.open(stored.sealed(item.raw))
    except Unreadable:
        return _without_origin(item)
    part = {"type": "input_text", "text": text}
    raw = msgspec.Raw(_encode({"type": "message", "role": "developer", "content": [part]}))
    return msgspec.structs.replace(item, type="message", raw=raw)


def _reasoning(item: Item) -> list[Item]:
    fields = _fields(item.raw)
    if checks.is_null(fields.get("encrypted_content")):
        return []
    kept = {
        name: raw
        for name, raw in fields.items()
        if name not in _REASONING_NOT_SENT and not checks.is_null(raw)
    }
    return [msgspec.structs.replace(item, raw=msgspec.Raw(_encode(kept)))]


def _without_origin(item: Item) -> Item:
    """Without ``created_by``, and without a status on types that have none as input."""
    output_only = _OUTPUT_ONLY.get(item.type, ())
    if not output_only and _CREATED_BY not in bytes(item.raw):
        return item
    fields = _fields(item.raw)
    kept = {name: raw for name, raw in fields.items() if name not in {"created_by", *output_only}}
    if len(kept) == len(fields):
        return item
    return msgspec.structs.replace(item, raw=msgspec.Raw(_encode(kept)))
