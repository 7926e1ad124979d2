"""Body and answer of ``POST /v1/turnlog/sql``."""

import msgspec

from schemas.http import checks

ARROW = "application/vnd.apache.arrow.stream"
"""What a client accepts that wants an Arrow IPC stream; else it is answered JSON."""
TIME_S = 30.0
ROWS = 10_000
ROWS_MAX = 10**9
STATEMENT_LENGTH_MAX = 100_000


class SqlRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request; ``rows_max`` none: it was not said."""

    statement: str
    sequence: int
    time_s_max: float
    rows_max: int | None


class SqlRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a statement, each a list of its columns' values, at a sequence of the log.

    What JSON has no type for is a string. ``truncated``: there are more rows than were asked for.
    """

    object: str = "turnlog.rows"
    sequence: int
    columns: tuple[str, ...]
    rows: tuple[tuple[msgspec.Raw, ...], ...]
    truncated: bool


def read_sql(payload: bytes) -> SqlRequest:
    """The request in a body."""
    given = checks.present(checks.body(payload))
    if "statement" not in given:
        raise checks.missing("statement")
    statement = checks.text(given["statement"], "statement", most=STATEMENT_LENGTH_MAX)
    sequence, time_s, rows = 0, TIME_S, None
    if "sequence" in given:
        sequence = checks.integer(given["sequence"], "sequence", least=0, most=2**53)
    if "time_s_max" in given:
        time_s = checks.number(given["time_s_max"], "time_s_max", least=0.001, most=3600)
    if "rows_max" in given:
        rows = checks.integer(given["rows_max"], "rows_max", least=0, most=ROWS_MAX)
    return SqlRequest(statement=statement, sequence=sequence, time_s_max=time_s, rows_max=rows)
