"""Every event at its current version, and the name it is stored under.

These names and fields are the storage format: a change of shape is a new version with an upcaster
and a golden file, a change of meaning is a new event.
"""

from datetime import date
from typing import TypeAlias

import msgspec

ERASED = "conversation_erased"
"""The event after which there is nothing to know of its conversation but that."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class ConversationCreated(_Event, frozen=True, kw_only=True):
    """A conversation began; a ``hidden`` one only carries a chain of responses."""

    metadata: dict[str, str] = {}
    hidden: bool = False


class ConversationUpdated(_Event, frozen=True, kw_only=True):
    """The whole metadata map was replaced."""

    metadata: dict[str, str]


class ConversationDeleted(_Event, frozen=True, kw_only=True):
    """The conversation answers to no client any more; its history stays in the log."""


class ItemsAdded(_Event, frozen=True, kw_only=True):
    """Items were put at the end of the line by hand, in this order.

    ``items`` are stored forms, byte for byte what clients read back; ``tokens`` is the size of
    each by the bundled tokenizer.
    """

    items: tuple[msgspec.Raw, ...]
    tokens: tuple[int, ...]


class ItemDeleted(_Event, frozen=True, kw_only=True):
    """An item left the conversation and every later window."""

    item_id: str


class TurnRequested(_Event, frozen=True, kw_only=True):
    """A turn was admitted; the model is called only after this is stored.

    ``parameters`` is the request's body without input and state. ``on_line``: input and output
    join the conversation's line when the turn ends. ``parent`` is the response it follows in a
    chain. ``store`` false keeps no response object.
    """

    response_id: str
    model: str
    items: tuple[msgspec.Raw, ...]
    tokens: tuple[int, ...]
    parameters: msgspec.Raw
    on_line: bool = False
    parent: str | None = None
    store: bool = True


class TurnStarted(_Event, frozen=True, kw_only=True):
    """A further attempt began, after a responder was lost; from attempt 2 on."""

    response_id: str
    attempt: int
    responder: str


class TurnCompaction(_Event, frozen=True, kw_only=True):
    """What a turn had summarised before the model answered it; no event by itself.

    The item named is among the turn's output. Windows are from then on that item, the earlier
    items named in ``kept``, and what followed what is covered: on the line the positions from
    ``covered`` on; off it the turn's own input from its item number ``covered`` on, and its
    output. The rest is as for `ConversationCompacted`; ``tokens_before`` and ``tokens_after`` have
    the turn's input included, and ``covered_from`` is a position on the line, 0 off it.
    """

    item_id: str
    summary: str
    covered: int
    kept: tuple[str, ...] = ()
    method: str
    tokens_before: int
    tokens_after: int
    fallback: str = ""
    covered_from: int = 0
    anchors_found: int = 0
    anchors_kept: int = 0


class TurnCompleted(_Event, frozen=True, kw_only=True):
    """The model answered; ``status`` is ``completed`` or ``incomplete``.

    ``usage`` is the provider's own count in the contract's shape, of the answer; of the summary
    where a summary was all that was asked for. ``reason`` says why an incomplete answer ended.
    """

    response_id: str
    status: str
    items: tuple[msgspec.Raw, ...]
    tokens: tuple[int, ...]
    usage: msgspec.Raw
    model: str
    reason: str | None = None
    compaction: TurnCompaction | None = None


class TurnFailed(_Event, frozen=True, kw_only=True):
    """The turn ended without an answer; nothing of it joins the line.

    ``items`` is what had been streamed by then: the response shows it, no window does.
    """

    response_id: str
    code: str
    message: str
    items: tuple[msgspec.Raw, ...] = ()
    tokens: tuple[int, ...] = ()


class TurnCancelled(_Event, frozen=True, kw_only=True):
    """A client ended the turn; as with one that failed, nothing of it joins the line.

    ``interrupted_by`` is the turn it was ended for, where a later one was not to wait for it.
    """

    response_id: str
    items: tuple[msgspec.Raw, ...] = ()
    tokens: tuple[int, ...] = ()
    interrupted_by: str | None = None


class ResponseDeleted(_Event, frozen=True, kw_only=True):
    """The response object answers to no client any more; its items stay where they are."""

    response_id: str


class BudgetCrossed(_Event, frozen=True, kw_only=True):
    """The window has outgrown its budget; stored in the commit that caused it."""

    tokens: int
    budget: int


class ConversationCompacted(_Event, frozen=True, kw_only=True):
    """Items at positions below ``covered`` are replaced, in windows, by a summary.

    The window is then ``item``, the items named in ``kept``, and the line from ``covered`` on.
    ``tokens_before`` and ``tokens_after`` are windows by the bundled tokenizer. ``method`` is the
    one that was used, ``fallback`` why that is not the one that was chosen. Told anew were the
    positions from ``covered_from`` on; what an earlier summary told of those below was carried
    over. The anchors are those of what was told anew: found there, and kept in the summary. One
    that only an upstream can read has an empty ``summary`` and none counted.
    """

    item: msgspec.Raw
    tokens: int
    summary: str
    covered: int
    kept: tuple[str, ...] = ()
    method: str
    tokens_before: int
    tokens_after: int
    fallback: str = ""
    covered_from: int = 0
    anchors_found: int = 0
    anchors_kept: int = 0


class CompactionReverted(_Event, frozen=True, kw_only=True):
    """A compaction item was deleted: the window is again what it was without it."""

    item_id: str


class ForkedCompaction(_Event, frozen=True, kw_only=True):
    """A summary that was in force where a fork was taken; no event by itself.

    Its item is on the fork's line; ``covered`` is a position there. ``crossed`` is the size at
    which the budget had been found crossed until then. Else as `TurnCompaction`.
    """

    item_id: str
    summary: str
    covered: int
    kept: tuple[str, ...] = ()
    crossed: int = 0


class ConversationForked(_Event, frozen=True, kw_only=True):
    """A conversation began as a copy of ``origin`` as its commit ``sequence`` had left it.

    It holds all that windows are made of, and needs its origin no more. ``digest`` is the SHA-256
    of that commit. ``items`` are those that had not left the line, with the ids they have there;
    ``window_tokens`` is the size of the window, ``crossed`` the one at which ``budget`` was last
    found crossed, if no compaction has answered that. ``more``: what does not fit into this commit
    is in further ones of this kind, and until the last of them nobody can address the conversation.
    """

    origin: str
    sequence: int
    digest: str
    metadata: dict[str, str]
    items: tuple[msgspec.Raw, ...]
    tokens: tuple[int, ...]
    window_tokens: int
    crossed: int = 0
    budget: int = 0
    compactions: tuple[ForkedCompaction, ...] = ()
    more: bool = False


class ConversationErased(_Event, frozen=True, kw_only=True):
    """What the conversation held is gone for good; nothing follows. It is stored unsealed, always.

    Before it were ``commits`` commits, the last of which is ``head``, its SHA-256. ``trail`` is the
    SHA-256 of a line for each, ``SEQUENCE SHA256`` and a newline. ``key`` is the id of the key that
    was destroyed, with which all of them went dark; they stay as they are. Where some had not been
    sealed, all of them are taken out of the log instead: ``removed`` has their sequences. ``days``
    are those on which they were committed, by UTC.
    """

    commits: int
    head: str
    trail: str
    key: str | None = None
    removed: tuple[int, ...] = ()
    days: tuple[date, ...] = ()


Event: TypeAlias = (
    ConversationCreated
    | ConversationUpdated
    | ConversationDeleted
    | ItemsAdded
    | ItemDeleted
    | TurnRequested
    | TurnStarted
    | TurnCompleted
    | TurnFailed
    | TurnCancelled
    | ResponseDeleted
    | BudgetCrossed
    | ConversationCompacted
    | CompactionReverted
    | ConversationForked
    | ConversationErased
)

CLASSES: dict[str, type[Event]] = {
    "conversation_created": ConversationCreated,
    "conversation_updated": ConversationUpdated,
    "conversation_deleted": ConversationDeleted,
    "items_added": ItemsAdded,
    "item_deleted": ItemDeleted,
    "turn_requested": TurnRequested,
    "turn_started": TurnStarted,
    "turn_completed": TurnCompleted,
    "turn_failed": TurnFailed,
    "turn_cancelled": TurnCancelled,
    "response_deleted": ResponseDeleted,
    "budget_crossed": BudgetCrossed,
    "conversation_compacted": ConversationCompacted,
    "compaction_reverted": CompactionReverted,
    "conversation_forked": ConversationForked,
    ERASED: ConversationErased,
}
"""Stored name to class."""

NAMES: dict[type[Event], str] = {kind: name for name, kind in CLASSES.items()}
"""Class to stored name."""
