"""The rows a conversation's history is made of."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas import items
from schemas.events import TurnCompaction


class Item(msgspec.Struct, frozen=True):
    """A stored item: the fields rules ask for, its bytes, its size in tokens.

    ``call_id`` is what joins a call and its output, for the types that wait for one.
    """

    id: str
    type: str
    raw: msgspec.Raw
    tokens: int
    call_id: str | None = None
    role: str | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the model and its outcome; ``status`` as in the contract's Response.

    ``output`` of a turn that failed or was cancelled is what it had said by then. ``line_start`` is
    the length of the line when the turn was admitted, ``line_end`` once it had ended, with its
    items or without; ``deletions`` counts the items that had left it when it was admitted.
    ``compaction`` is that of a turn off the line; one on it is the line's.
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
    line_start: int = 0
    line_end: int = 0
    deletions: int = 0
    compaction: TurnCompaction | None = None

    @property
    def answered(self) -> bool:
        """Whether it ended with an answer, whole or cut short."""
        return self.status in {"completed", "incomplete"}

    @property
    def joined(self) -> bool:
        """Whether its items are on the line."""
        return self.on_line and self.answered

    @property
    def shown(self) -> tuple[Item, ...]:
        """What of its input windows hold: an array that is all there is opens with its summary."""
        alone = not self.on_line and self.parent is None
        return since_summary(self.input) if alone else self.input

    @property
    def answer(self) -> tuple[Item, ...]:
        """Its output without the summary made in it."""
        if self.compaction is None:
            return self.output
        own = self.compaction.item_id
        return tuple(item for item in self.output if item.id != own)

    @property
    def context(self) -> tuple[Item, ...]:
        """What a turn that follows it in a chain is sent of it."""
        return (*self.shown, *self.answer) if self.answered else self.shown

    @property
    def background(self) -> bool:
        """Whether nobody waits for it: it can be polled and cancelled while it runs."""
        return _mode(self.parameters).background is True

    @property
    def streamed(self) -> bool:
        """Whether its events were asked for."""
        return _mode(self.parameters).stream is True

    @property
    def truncates(self) -> bool:
        """Whether its window may have been sent without its oldest items."""
        return _mode(self.parameters).truncation == "auto"


class _Mode(msgspec.Struct):
    background: bool | None = False
    stream: bool | None = False
    truncation: str | None = None


_mode = msgspec.json.Decoder(_Mode).decode


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """A summary in force: it stands for the line below ``covered``, except the ``kept`` items.

    ``position`` is where its own item joined the line; ``crossed`` the size at which the budget had
    been found crossed until then.
    """

    item: Item
    position: int
    summary: str
    covered: int
    kept: tuple[str, ...]
    sequence: int
    crossed: int = 0


def since_summary(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """An array from its newest compaction on, and the user's messages right before that.

    A client appends what it was answered and may, but need not, drop what stood before a
    compaction (contract 5.1): the same is sent either way. The messages are those that compacting
    by itself keeps (contract 5.3).
    """
    newest = next((i for i in range(len(items) - 1, -1, -1) if items[i].type == "compaction"), 0)
    while newest > 0 and items[newest - 1].role == "user":
        newest -= 1
    return items[newest:] if newest else items


def summary_at(context: Sequence[Item]) -> int | None:
    """Where the summary stands that opens a context, behind nothing but the user's messages."""
    for index, item in enumerate(context):
        if item.type == "compaction":
            return index
        if item.role != "user":
            return None
    return None


def read_items(raws: tuple[msgspec.Raw, ...], tokens: tuple[int, ...]) -> tuple[Item, ...]:
    """Items of an event as the state keeps them."""
    return tuple(item_of(raw, size) for raw, size in zip(raws, tokens, strict=True))


class _Joint(msgspec.Struct):
    execution: str | None = None
    approval_request_id: str | None = None


_joint = msgspec.json.Decoder(_Joint).decode
_JOINED_OTHERWISE = frozenset(
    {
        "mcp_approval_request",
        "mcp_approval_response",
        "tool_search_call",
        "tool_search_output",
        "local_shell_call_output",
    }
)
"""Types that are not joined by their ``call_id``, or not always."""


def item_of(raw: msgspec.Raw, tokens: int) -> Item:
    """One stored form as the state keeps it."""
    head = items.head(raw)
    call_id = _joined_by(raw, head) if head.type in _JOINED_OTHERWISE else head.call_id
    return Item(head.id, head.type, raw, tokens, call_id, head.role)


def _joined_by(raw: msgspec.Raw, head: items.Head) -> str | None:
    match head.type:
        case "mcp_approval_request":
            return head.id
        case "mcp_approval_response":
            return _joint(raw).approval_request_id
        case "local_shell_call_output":
            # The API's reference has no call id here: the id is said to be that of the call.
            return head.call_id or (None if head.id.startswith("lsho") else head.id)
        case _:
            return head.call_id if _joint(raw).execution == "client" else None
