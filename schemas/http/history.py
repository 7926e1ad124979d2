"""Bodies of ``/v1/turnlog/conversations``: what was when, and what has changed. Times are UTC."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

COMMITS_MAX = 100
"""Commits a page may hold."""


class WindowThen(msgspec.Struct, frozen=True, kw_only=True):
    """What the model would have been sent before new input."""

    items: int
    tokens: int


class ItemThen(msgspec.Struct, frozen=True, kw_only=True):
    """An item that stood on the line; ``in_window``: the model would have been sent it."""

    position: int
    tokens: int
    in_window: bool
    item: msgspec.Raw


class TurnThen(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that had been requested; ``input`` and ``output`` count items."""

    response_id: str
    status: str
    model: str
    on_line: bool
    parent: str | None
    attempt: int
    requested_at: datetime
    ended_at: datetime | None
    input: int
    output: int
    error_code: str | None
    deleted: bool


class CompactionThen(msgspec.Struct, frozen=True, kw_only=True):
    """A summary that stood for the line below position ``covered``, but for the items kept."""

    item_id: str
    covered: int
    kept: tuple[str, ...]
    summary: str


class ConversationThen(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as its commit ``sequence``, stored at ``at``, had left it.

    ``digest`` is the SHA-256 of that commit.
    """

    id: str
    object: str = "turnlog.conversation"
    sequence: int
    at: datetime
    digest: str
    created_at: datetime | None
    hidden: bool
    deleted: bool
    metadata: dict[str, str]
    items: tuple[ItemThen, ...]
    turns: tuple[TurnThen, ...]
    compactions: tuple[CompactionThen, ...]
    window: WindowThen


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was another one before."""

    before: msgspec.Raw
    after: msgspec.Raw


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Values by name: those only later there, those only earlier, and those that are others."""

    added: Mapping[str, msgspec.Raw]
    removed: Mapping[str, msgspec.Raw]
    changed: Mapping[str, Changed]


class ConversationDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What two points of a conversation's history have not in common.

    A sequence of 0: it had not begun. Items and turns are told by their ids.
    """

    id: str
    object: str = "turnlog.diff"
    from_sequence: int
    to_sequence: int
    deleted: bool
    metadata: Difference
    items: Difference
    turns: Difference
    compactions: Difference
    window_before: WindowThen
    window_after: WindowThen


class CommitStored(msgspec.Struct, frozen=True, kw_only=True):
    """A commit, byte for byte as it is stored; ``digest`` is the SHA-256 of these bytes.

    ``previous`` is the sequence of the same conversation's commit before it, 0 for the first.
    """

    object: str = "turnlog.commit"
    sequence: int
    previous: int
    digest: str
    commit: msgspec.Raw


class CommitList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of commits, oldest first; page on with ``after=last_sequence`` while ``has_more``."""

    object: str = "list"
    data: tuple[CommitStored, ...]
    has_more: bool
    last_sequence: int | None


class ForkedFrom(msgspec.Struct, frozen=True, kw_only=True):
    """The commit a fork was taken behind, and its SHA-256."""

    conversation_id: str
    sequence: int
    digest: str


class ConversationFork(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that was forked, as clients see it; ``created_at`` in unix seconds."""

    id: str
    object: str = "conversation"
    created_at: int
    metadata: dict[str, str]
    forked_from: ForkedFrom


class ConversationErasure(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that was erased; ``erased_at`` in unix seconds.

    ``digest`` is the SHA-256 of the commit that says so, at ``sequence``. Of the ``commits`` before
    it ``removed`` were taken out of the log; those that stay went dark with ``key``, by its id.
    """

    id: str
    object: str = "turnlog.erasure"
    erased_at: int
    sequence: int
    digest: str
    commits: int
    removed: int
    key: str | None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A promise the log does not keep at ``sequence``, in a word and in a sentence.

    A ``warning`` may pass by itself: a turn that nobody runs is taken over soon.
    """

    sequence: int
    rule: str
    says: str
    warning: bool


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of a conversation's log up to ``sequence`` has found.

    ``clean``: nothing, or nothing but warnings.
    """

    id: str
    object: str = "turnlog.verification"
    sequence: int
    commits: int
    clean: bool
    findings: tuple[Finding, ...]


LINES = "application/jsonl"
"""What an export is sent as."""
