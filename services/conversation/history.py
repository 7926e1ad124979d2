"""The rows a conversation's history is made of."""

from datetime import datetime

import msgspec

from schemas import items


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
    items or without.
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

    @property
    def answered(self) -> bool:
        """Whether it ended with an answer, whole or cut short."""
        return self.status in {"completed", "incomplete"}

    @property
    def joined(self) -> bool:
        """Whether its items are on the line."""
        return self.on_line and self.answered

    @property
    def context(self) -> tuple[Item, ...]:
        """What a turn that follows it in a chain is sent of it."""
        return (*self.input, *self.output) if self.answered else self.input

    @property
    def background(self) -> bool:
        """Whether nobody waits for it: it can be polled and cancelled while it runs."""
        return _mode(self.parameters).background is True

    @property
    def streamed(self) -> bool:
        """Whether its events were asked for."""
        return _mode(self.parameters).stream is True


class _Mode(msgspec.Struct):
    background: bool | None = False
    stream: bool | None = False


_mode = msgspec.json.Decoder(_Mode).decode


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
