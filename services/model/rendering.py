"""The window as an upstream reads it: the same items give the same bytes, every time.

Whoever sends a window, or only shows it, renders it here.
"""

from collections.abc import Sequence

import msgspec

from schemas import items as stored
from schemas.http import checks
from services.conversation.history import Item
from services.model import messages
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
_COMPACTION = b'"compaction"'


class _Written(msgspec.Struct):
    type: str
    encrypted_content: str | None = None


_encode = msgspec.json.Encoder().encode
_written = msgspec.json.Decoder(_Written).decode
_fields = msgspec.json.Decoder(checks.Fields).decode


def parameters(given: checks.Fields) -> checks.Fields:
    """The parameters the upstream must judge."""
    sent = {name: raw for name, raw in given.items() if name not in _NOT_SENT}
    if "prompt_cache_options" in sent:
        options = _fields(sent["prompt_cache_options"])
        options.pop(_OUR_RESPONSE, None)
        sent["prompt_cache_options"] = msgspec.Raw(_encode(options))
    return sent


async def as_input(items: Sequence[Item], sealer: Sealer) -> msgspec.Raw:
    """The array that the Responses API is sent."""
    sent = await as_sent(items, sealer)
    return msgspec.Raw(_encode([item.raw for item in sent]))


async def as_messages(
    items: Sequence[Item], sealer: Sealer, instructions: str | None = None
) -> msgspec.Raw:
    """The array that the Chat Completions API is sent.

    Raises `ModelRefused`, and whatever reading fields of another kind than chat's comes to.
    """
    sent = await as_sent(items, sealer)
    return msgspec.Raw(_encode(messages.messages(sent, instructions)))


async def as_sent(items: Sequence[Item], sealer: Sealer) -> tuple[Item, ...]:
    """As `window`, under content keys that were made only now as well."""
    return await sealer.opening(lambda: window(items, sealer))


def as_kept(raw: msgspec.Raw, sealer: Sealer) -> msgspec.Raw:
    """An item an upstream wrote as it is kept: its own compactions are enclosed in ours."""
    if _COMPACTION not in bytes(raw):
        return raw
    written = _written(raw)
    if written.type != "compaction" or not written.encrypted_content:
        # That of one that has only begun is empty.
        return raw
    blob = sealer.enclose(written.encrypted_content)
    return msgspec.Raw(_encode({**_fields(raw), "encrypted_content": blob}))


def window(items: Sequence[Item], sealer: Sealer) -> tuple[Item, ...]:
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
    blob = stored.sealed(item.raw)
    try:
        text = SUMMARY_INTRODUCTION + sealer.open(blob)
    except Unreadable:
        return _of_upstream(item, sealer.enclosed(blob))
    part = {"type": "input_text", "text": text}
    raw = msgspec.Raw(_encode({"type": "message", "role": "developer", "content": [part]}))
    return msgspec.structs.replace(item, type="message", role="developer", raw=raw)


def _of_upstream(item: Item, enclosed: str | None) -> Item:
    """A compaction of the upstream's own; older logs hold its blob as it came."""
    if enclosed is not None:
        fields = {**_fields(item.raw), "encrypted_content": enclosed}
        item = msgspec.structs.replace(item, raw=msgspec.Raw(_encode(fields)))
    return _without_origin(item)


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
