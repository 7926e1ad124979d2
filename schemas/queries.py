"""Questions on ``ask.*`` and their answers, as JSON."""

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a process can serve, and the sequence it has seen where that has a meaning."""

    ok: bool
    detail: str = ""
    sequence: int | None = None


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
