"""Questions on ``ask.*`` and their answers, as JSON."""

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


class Sql(msgspec.Struct, frozen=True, kw_only=True):
    """A read-only statement for the projector's DuckDB (subject ``ask.sql``).

    The answer stands at ``sequence`` or later; ``wait_s`` bounds the wait for it, ``time_s_max``
    the statement, ``rows_max`` the answer.
    """

    statement: str
    sequence: int = 0
    wait_s: float = 5.0
    time_s_max: float = 30.0
    rows_max: int = 10_000


class SqlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and the sequence they stand at, or why there are none."""

    sequence: int = 0
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    truncated: bool = False
    error: str | None = None


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
