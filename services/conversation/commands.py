"""What can be asked of a conversation. Commands are never stored and never leave the process."""

from typing import TypeAlias

import msgspec

from schemas.events import ConversationForked
from services.conversation.history import Item


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    pass


class CreateConversation(_Command, frozen=True, kw_only=True):
    """Begin a conversation, with items on its line from the start."""

    metadata: dict[str, str] = {}
    items: tuple[Item, ...] = ()


class ForkConversation(_Command, frozen=True, kw_only=True):
    """Begin a conversation as a copy of another, or go on with that; ``part`` by ``part``."""

    part: ConversationForked


class UpdateConversation(_Command, frozen=True, kw_only=True):
    """Replace the metadata."""

    metadata: dict[str, str]


class DeleteConversation(_Command, frozen=True, kw_only=True):
    """End it for all clients."""


class AddItems(_Command, frozen=True, kw_only=True):
    """Put items at the end of the line."""

    items: tuple[Item, ...]


class DeleteItem(_Command, frozen=True, kw_only=True):
    """Take one item off the line; a compaction item takes its compaction along."""

    item_id: str


class RequestTurn(_Command, frozen=True, kw_only=True):
    """Admit a turn: on the line of an existing conversation, after ``parent``, or on its own.

    Without a ``model``: with that of its parent. ``summarised``: it asks for nothing but a summary
    of its context. ``interrupts`` is a turn on the line that is ended for it, if it still runs.
    ``ends``: it has waited in vain, and is recorded together with its end, whatever runs meanwhile.
    """

    response_id: str
    model: str | None
    items: tuple[Item, ...]
    parameters: msgspec.Raw
    on_line: bool
    parent: str | None
    store: bool
    summarised: bool = False
    interrupts: str | None = None
    ends: "CancelTurn | FailTurn | None" = None


class StartAttempt(_Command, frozen=True, kw_only=True):
    """Take a turn over from a responder that was lost."""

    response_id: str
    attempt: int
    responder: str


class TurnSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was summarised before the model answered; its item ``item_id`` is in the answer.

    Replaced are the line below ``covered`` (0 off the line), and the first ``input_covered`` items
    of the input. ``kept`` names items before the input that stay, where they have no position.
    """

    item_id: str
    summary: str
    covered: int
    input_covered: int
    kept: tuple[str, ...]
    method: str
    tokens_before: int
    tokens_after: int
    fallback: str = ""
    covered_from: int = 0
    anchors_found: int = 0
    anchors_kept: int = 0


class CompleteTurn(_Command, frozen=True, kw_only=True):
    """The model's answer to one attempt."""

    response_id: str
    attempt: int
    status: str
    items: tuple[Item, ...]
    usage: msgspec.Raw
    model: str
    reason: str | None = None
    summary: TurnSummary | None = None


class FailTurn(_Command, frozen=True, kw_only=True):
    """One attempt ended the turn without an answer; ``items`` is what it had said by then."""

    response_id: str
    attempt: int
    code: str
    message: str
    items: tuple[Item, ...] = ()


class CancelTurn(_Command, frozen=True, kw_only=True):
    """End a background turn, or any for the sake of the turn ``interrupted_by``.

    ``items`` is what it had said by then.
    """

    response_id: str
    items: tuple[Item, ...] = ()
    interrupted_by: str | None = None


class DeleteResponse(_Command, frozen=True, kw_only=True):
    """End a response object for all clients."""

    response_id: str


class Compact(_Command, frozen=True, kw_only=True):
    """Replace the line below ``covered`` in windows by ``summary``.

    ``after`` is the newest compaction the summary was made on top of, ``removed`` what had left
    the line by then: a summary may not outlive the deletion of what it summarises.
    """

    item: Item
    summary: str
    covered: int
    kept: tuple[str, ...]
    after: str | None
    removed: frozenset[int]
    method: str
    tokens_before: int
    tokens_after: int
    fallback: str = ""
    covered_from: int = 0
    anchors_found: int = 0
    anchors_kept: int = 0


Command: TypeAlias = (
    CreateConversation
    | ForkConversation
    | UpdateConversation
    | DeleteConversation
    | AddItems
    | DeleteItem
    | RequestTurn
    | StartAttempt
    | CompleteTurn
    | FailTurn
    | CancelTurn
    | DeleteResponse
    | Compact
)
