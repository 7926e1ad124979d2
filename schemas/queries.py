"""Questions on ``ask.*`` and their answers, as JSON."""

from datetime import date, datetime
from typing import Literal

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a process can serve, and the sequence it has seen where that has a meaning.

    Of the views also how far they are behind the log, in commits and in milliseconds since the
    oldest of these was stored, and how many commits could not be projected.
    """

    ok: bool
    detail: str = ""
    sequence: int | None = None
    log_sequence: int | None = None
    lag_commits: int | None = None
    lag_ms: float | None = None
    parked: int | None = None


JSON, ARROW = "json", "arrow"
"""Forms of an answer in pieces: an encoded `SqlAnswer`, or an Arrow IPC stream."""

REFUSED = "statement_refused"
"""The statement is not one that only reads the views."""
FAILED = "statement_failed"
"""The statement is wrong, or came to an error."""
TIMED_OUT = "statement_timed_out"
OUT_OF_MEMORY = "statement_out_of_memory"
BEHIND = "views_behind"
"""The views do not stand at the sequence that was asked for; they may later."""
UNKNOWN = "conversation_unknown"
"""A page was to begin behind a conversation that the project has not."""
LOG_DIFFERS = "log_differs"
"""What was exported before came from another log, or one that has lost its end."""
BUSY = "views_busy"
"""Others are being answered; it may be asked again."""
CRASHED = "projector_failed"
"""Our own mistake."""

KIND_HEADER = "Turnlog-Kind"
"""Of a message that answers in pieces: one of the following."""
WORKING = "working"
"""No payload: the answer is being worked on."""
PIECE = "piece"
"""Payload: some bytes of the answer; more to come."""
OPENED = "opened"
"""Payload: an `ExportOpened`; its parts follow."""
BEGUN = "begun"
"""Payload: an `ExportedPart`; the pieces that follow are an Arrow IPC stream of its rows."""
LAST = "last"
"""Payload: the last bytes of the answer, or its summary. Nothing follows."""
NONE = "none"
"""Payload: a `SqlAnswer` that says why there is no answer, or no more of it. Nothing follows."""
STANDS_HEADER = "Turnlog-Sequence"
"""Sequence of the log that an answer in pieces stands at."""
TRUNCATED_HEADER = "Turnlog-Truncated"
"""Of the last piece, if the answer has more rows than were asked for."""


class Sql(msgspec.Struct, frozen=True, kw_only=True):
    """A read-only statement for the projector's DuckDB (subject ``ask.sql``).

    With a ``project`` there are no rows but its own, and nothing tells of others.
    The answer stands at ``sequence`` or later; ``wait_s`` bounds the wait for it, ``time_s_max``
    the statement, until all of its answer is taken, ``rows_max`` the answer; none: no limit of its
    own, for Arrow in pieces only.

    One message answers, which holds the rows that fit, as `SqlAnswer`. With ``pieces`` the answer
    is as long as it is: a message each, and the next is sent once the one before has been replied
    to with nothing. A reply of anything else, or nobody there to reply, ends the statement.
    """

    statement: str
    project: str | None = None
    sequence: int = 0
    wait_s: float = 5.0
    time_s_max: float = 30.0
    rows_max: int | None = 10_000
    pieces: bool = False
    form: Literal["json", "arrow"] = "json"


class SqlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and the sequence they stand at, or why there are none; ``code`` is one written word."""

    sequence: int = 0
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    truncated: bool = False
    error: str | None = None
    code: str | None = None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for conversations of ``project`` that match all of this (subject ``ask.conversations``).

    Neither hidden nor deleted ones. ``after`` and ``before`` mean at or after, and before; ``text``
    is something that is said in an item that stands, in whatever case. They are in the order of
    their creation; ``after`` is the one that the page begins behind.
    """

    project: str
    metadata: dict[str, str] = {}
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    model: str | None = None
    tokens_min: int | None = None
    tokens_max: int | None = None
    text: str | None = None
    limit: int = 20
    after: str | None = None
    newest_first: bool = True
    sequence: int = 0
    wait_s: float = 5.0


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation of a listing; ``metadata`` is a JSON object."""

    conversation_id: str
    created_at: datetime
    updated_at: datetime
    metadata: msgspec.Raw
    items: int
    turns: int
    tokens: int


class ListingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of conversations and the sequence it stands at, or why there is none."""

    sequence: int = 0
    conversations: tuple[Listed, ...] = ()
    has_more: bool = False
    error: str | None = None
    code: str | None = None


class ExportState(msgspec.Struct, frozen=True, kw_only=True):
    """What an export stands for: all of ``log`` up to ``sequence``, but for ``parked`` commits.

    ``versions`` are those of the views its rows are from.
    """

    sequence: int
    log: str
    versions: str
    parked: tuple[int, ...]


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for rows of the views, by table, day and project (subject ``ask.export``).

    Only those of parts in which anything may have changed after ``since``, or from ``since_at`` on;
    without both: since ``known``, what was exported before. All of them if that does not hold any
    more, since the views are others, or know of other commits. All from one snapshot, in pieces,
    each to be replied to like those of `Sql`.
    """

    since: int | None = None
    since_at: datetime | None = None
    known: ExportState | None = None
    sequence: int = 0
    wait_s: float = 5.0


class ExportOpened(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows stand for; ``since``: parts without a change after it are left out."""

    state: ExportState
    since: int


class ExportedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table from one day (UTC) and project; they lack the column ``project``."""

    table: str
    day: date
    project: str


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks what is in the views, at ``sequence`` or later (subject ``ask.digest``)."""

    sequence: int = 0
    wait_s: float = 5.0


class DigestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """By table its number of rows and a hash of them, at a sequence; or why there is none.

    Equal for equal tables, in whatever order their rows were written.
    """

    sequence: int = 0
    tables: dict[str, str] = {}
    error: str | None = None


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the views to be built again, beside those that answer (subject ``ask.rebuild``).

    They take the place of those if both hold the same, or else if ``differing`` is true. With
    ``rollback`` the views before these are brought up to date instead, and take their place.
    """

    differing: bool = False
    rollback: bool = False


class Rebuilding(msgspec.Struct, frozen=True, kw_only=True):
    """How far a rebuild is; the last one says what it came to, and ``done``.

    ``sequence`` of ``log_sequence`` commits are projected, ``events`` so far. ``differ`` names the
    tables that hold something else than those that answer, at ``compared`` (0: nothing was).
    ``switch_ms`` is how long no question could begin.
    """

    sequence: int = 0
    log_sequence: int = 0
    events: int = 0
    comparing: bool = False
    done: bool = False
    switched: bool = False
    compared: int = 0
    differ: tuple[str, ...] = ()
    switch_ms: float | None = None
    error: str | None = None


class Compact(msgspec.Struct, frozen=True, kw_only=True):
    """A window to compact, of which nothing is kept (subject ``ask.compact``).

    ``body`` is that of ``POST /v1/responses/compact``. Until the answer comes, empty messages say
    that it is worked on.
    """

    project: str
    body: msgspec.Raw


class CompactAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body to answer with: a compacted response, or an error body with its HTTP status."""

    body: msgspec.Raw
    status: int = 200
    retry_after_s: int | None = None
