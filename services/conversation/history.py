"""The rows a conversation's history is made of."""

from datetime import datetime

import msgspec

from schemas import items


class Item(msgspec.Struct, frozen=True):
    """A stored item: the fields rules ask for, its bytes, its size in tokens."""

    id: str
    type: str
    raw: msgspec.Raw
    tokens: int
    call_id: str | None = None
    role: str | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the model and its outcome; ``status`` as in the contract's Response.

    ``line_end`` is the length of the line once the turn had ended, with its items or without.
    """

    id: str
    status: str
    model: str
    parameters: msgspec.Raw
    input: tuple[Item, ...]
    on_line: bool
    parent: str | None
    store: bool
    requested_at: datetime
    attempt: int = 1
    output: tuple[Item, ...] = ()
    usage: msgspec.Raw | None = None
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    ended_at: datetime | None = None
    line_end: int = 0

    @property
    def joined(self) -> bool:
        """Whether its items are on the line."""
        return self.on_line and self.status in {"completed", "incomplete"}


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """A summary in force: it stands for the line below ``covered``, except the ``kept`` items.

    ``position`` is where its own item joined the line.
    """

    item: Item
    position: int
    summary: str
    covered: int
    kept: tuple[str, ...]
    sequence: int


def read_items(raws: tuple[msgspec.Raw, ...], tokens: tuple[int, ...]) -> tuple[Item, ...]:
    """Items of an event as the state keeps them."""
    return tuple(item_of(raw, size) for raw, size in zip(raws, tokens, strict=True))


def item_of(raw: msgspec.Raw, tokens: int) -> Item:
    """One stored form as the state keeps it."""
    head = items.head(raw)
    return Item(head.id, head.type, raw, tokens, head.call_id, head.role)
