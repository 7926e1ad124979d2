"""Ready-made items, events and commands; a fixed clock, and ids that are counted."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
from hypothesis import settings

from schemas import events as e
from services.conversation import commands as c
from services.conversation.history import Item, item_of
from services.conversation.state import NEW, Conversation, fold

AT = datetime(2025, 10, 24, 15, 10, 54, 250000, tzinfo=UTC)
"""When the first commit of every story was stored: 1761318654 in unix seconds."""
CONVERSATION_ID = "conv_68fb9701"
PROPERTY = settings(max_examples=50, deadline=None)


def raw(value: object) -> msgspec.Raw:
    """``value`` as JSON, compact as the wire has it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return msgspec.Raw(text.encode())


def plain(value: msgspec.Raw | bytes) -> object:
    """The value in some JSON."""
    return json.loads(bytes(value))


def counted() -> Callable[[str], str]:
    """A mint: ``msg_1``, ``fc_2`` …"""
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


def message(item_id: str, text: str = "Hi", *, role: str = "user", tokens: int = 1) -> Item:
    part = {"type": "input_text", "text": text}
    if role == "assistant":
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    value = {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "content": [part],
        "role": role,
    }
    return item_of(raw(value), tokens)


def said(item_id: str, text: str = "Hello", *, tokens: int = 1) -> Item:
    return message(item_id, text, role="assistant", tokens=tokens)


def call(call_id: str, *, item_id: str = "", tokens: int = 1, name: str = "look") -> Item:
    value = {
        "id": item_id or f"fc_{call_id}",
        "type": "function_call",
        "status": "completed",
        "arguments": "{}",
        "call_id": call_id,
        "name": name,
    }
    return item_of(raw(value), tokens)


def output(call_id: str, *, item_id: str = "", tokens: int = 1, text: str = "4") -> Item:
    value = {
        "id": item_id or f"fco_{call_id}",
        "type": "function_call_output",
        "status": "completed",
        "output": text,
        "call_id": call_id,
    }
    return item_of(raw(value), tokens)


def reasoning(item_id: str, *, encrypted: str | None = None, tokens: int = 1) -> Item:
    value: dict[str, object] = {"id": item_id, "type": "reasoning", "summary": []}
    if encrypted is not None:
        value["encrypted_content"] = encrypted
    return item_of(raw(value), tokens)


def compaction_item(item_id: str, *, blob: str = "sealed", tokens: int = 1) -> Item:
    value = {"id": item_id, "type": "compaction", "encrypted_content": blob}
    return item_of(raw(value), tokens)


def usage(total: int) -> msgspec.Raw:
    """The provider's count in the contract's shape; ``total`` 0 as if it had counted nothing."""
    details = {"cache_write_tokens": 0, "cached_tokens": 0}
    return raw(
        {
            "input_tokens": total,
            "input_tokens_details": details,
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": total,
        }
    )


def created(*, hidden: bool = False, **metadata: str) -> e.ConversationCreated:
    return e.ConversationCreated(metadata=metadata, hidden=hidden)


def added(*items: Item) -> e.ItemsAdded:
    return e.ItemsAdded(
        items=tuple(item.raw for item in items), tokens=tuple(item.tokens for item in items)
    )


def requested(
    response_id: str,
    *items: Item,
    on_line: bool = True,
    parent: str | None = None,
    store: bool = True,
    parameters: bytes = b"{}",
) -> e.TurnRequested:
    return e.TurnRequested(
        response_id=response_id,
        model="simulator",
        items=tuple(item.raw for item in items),
        tokens=tuple(item.tokens for item in items),
        parameters=msgspec.Raw(parameters),
        on_line=on_line,
        parent=parent,
        store=store,
    )


def completed(
    response_id: str,
    *items: Item,
    status: str = "completed",
    total: int = 0,
    compaction: e.TurnCompaction | None = None,
) -> e.TurnCompleted:
    return e.TurnCompleted(
        response_id=response_id,
        status=status,
        items=tuple(item.raw for item in items),
        tokens=tuple(item.tokens for item in items),
        usage=usage(total),
        model="simulator",
        reason="max_output_tokens" if status == "incomplete" else None,
        compaction=compaction,
    )


def in_turn(
    item_id: str, *, covered: int, before: int, after: int, kept: tuple[str, ...] = ()
) -> e.TurnCompaction:
    """What `completed` says of a compaction in its turn."""
    return e.TurnCompaction(
        item_id=item_id,
        summary="What was said.",
        covered=covered,
        kept=kept,
        method="summary",
        tokens_before=before,
        tokens_after=after,
    )


def failed(response_id: str, items: Iterable[Item] = ()) -> e.TurnFailed:
    said_before = tuple(items)
    return e.TurnFailed(
        response_id=response_id,
        code="server_error",
        message="The model failed.",
        items=tuple(item.raw for item in said_before),
        tokens=tuple(item.tokens for item in said_before),
    )


def cancelled(response_id: str, items: Iterable[Item] = ()) -> e.TurnCancelled:
    said_before = tuple(items)
    return e.TurnCancelled(
        response_id=response_id,
        items=tuple(item.raw for item in said_before),
        tokens=tuple(item.tokens for item in said_before),
    )


def compacted(
    item: Item, *, covered: int, before: int, after: int, kept: tuple[str, ...] = ()
) -> e.ConversationCompacted:
    return e.ConversationCompacted(
        item=item.raw,
        tokens=item.tokens,
        summary="What was said.",
        covered=covered,
        kept=kept,
        method="summary",
        tokens_before=before,
        tokens_after=after,
    )


def forked(
    *items: Item, compactions: tuple[e.ForkedCompaction, ...] = (), more: bool = False
) -> e.ConversationForked:
    return e.ConversationForked(
        origin="conv_1",
        sequence=7,
        digest="d1",
        metadata={"topic": "a"},
        items=tuple(item.raw for item in items),
        tokens=tuple(item.tokens for item in items),
        window_tokens=sum(item.tokens for item in items),
        compactions=compactions,
        more=more,
    )


def request(
    response_id: str,
    *items: Item,
    on_line: bool = True,
    parent: str | None = None,
    store: bool = True,
) -> c.RequestTurn:
    return c.RequestTurn(
        response_id=response_id,
        model="simulator",
        items=items,
        parameters=msgspec.Raw(b"{}"),
        on_line=on_line,
        parent=parent,
        store=store,
    )


def complete(
    response_id: str,
    *items: Item,
    attempt: int = 1,
    status: str = "completed",
    total: int = 0,
    summary: c.TurnSummary | None = None,
) -> c.CompleteTurn:
    return c.CompleteTurn(
        response_id=response_id,
        attempt=attempt,
        status=status,
        items=items,
        usage=usage(total),
        model="simulator",
        reason="max_output_tokens" if status == "incomplete" else None,
        summary=summary,
    )


def turn_summary(
    item_id: str, *, covered: int, input_covered: int = 0, before: int = 10, after: int = 2
) -> c.TurnSummary:
    """What `complete` says of a compaction in its turn."""
    return c.TurnSummary(
        item_id=item_id,
        summary="What was said.",
        covered=covered,
        input_covered=input_covered,
        kept=(),
        method="summary",
        tokens_before=before,
        tokens_after=after,
    )


def fail(response_id: str, *, attempt: int = 1) -> c.FailTurn:
    return c.FailTurn(
        response_id=response_id, attempt=attempt, code="server_error", message="The model failed."
    )


def compact(
    item: Item,
    *,
    covered: int,
    kept: tuple[str, ...] = (),
    after: str | None = None,
    removed: Iterable[int] = (),
    before_tokens: int = 10,
    after_tokens: int = 2,
) -> c.Compact:
    return c.Compact(
        item=item,
        summary="What was said.",
        covered=covered,
        kept=kept,
        after=after,
        removed=frozenset(removed),
        method="summary",
        tokens_before=before_tokens,
        tokens_after=after_tokens,
    )


def state_of(*events: e.Event) -> Conversation:
    """The state after ``events``, stored a second apart under sequences from 1."""
    return after(NEW, *events)


def after(state: Conversation, *events: e.Event, sequence: int = 0) -> Conversation:
    """``state`` after more events; the first is stored under the number after ``sequence``."""
    stored = (
        (event, AT + timedelta(seconds=number), sequence + number + 1)
        for number, event in enumerate(events)
    )
    return fold(state, stored)


def ids_of(items: Iterable[Item]) -> list[str]:
    return [item.id for item in items]


def listed(state: Conversation) -> list[str]:
    """Ids of what a client lists, oldest first."""
    return ids_of(state.listed(0, descending=False))
