"""Runs one statement of an analyst and makes JSON of what it answers."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import msgspec

from schemas import queries
from schemas.queries import SqlAnswer
from services.projector import guard
from services.projector.confinement import confine

FETCHED_ROWS = 256
_INTEGER_MAX = 2**63 - 1

TOLD = (guard.StatementRefused, duckdb.Error, MemoryError)
"""What a statement may raise."""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_ZONED = "TIMESTAMP WITH TIME ZONE"
_SEQUENCE = "SELECT sequence FROM projection"


def run(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    *,
    project: str | None = None,
    rows_max: int,
    bytes_max: int,
) -> bytes:
    """The encoded `SqlAnswer`, at most ``bytes_max`` long; raises what `reason` tells.

    ``connection`` is used for nothing else, and closed.
    """
    try:
        sequence = begin(connection, statement, project=project)
        return _answer(connection, statement, sequence, rows_max=rows_max, bytes_max=bytes_max)
    finally:
        connection.close()


def begin(connection: duckdb.DuckDBPyConnection, statement: str, *, project: str | None) -> int:
    """The sequence that all which is read from ``connection`` from now on stands at.

    With a ``project`` that is all it can read. Raises `guard.StatementRefused`.
    """
    if project is None:
        guard.check(connection, statement)
    else:
        guard.check_confined(connection, statement, confine(connection, project))
    return stand(connection)


def stand(connection: duckdb.DuckDBPyConnection) -> int:
    """As `begin`, for statements of our own."""
    connection.execute("BEGIN TRANSACTION READ ONLY")
    ((sequence,),) = connection.execute(_SEQUENCE).fetchall()
    return int(sequence)


def reason(error: Exception, *, time_s: float) -> SqlAnswer:
    """What an asker is told of a statement that came to nothing in ``time_s`` seconds at most."""
    match error:
        case guard.StatementRefused():
            return SqlAnswer(error=str(error), code=queries.REFUSED)
        case duckdb.InterruptException():
            told = f"the statement ran longer than {time_s:g} s and was ended"
            return SqlAnswer(error=told, code=queries.TIMED_OUT)
        case duckdb.OutOfMemoryException() | MemoryError():
            told = "the statement needs more memory than it may take"
            return SqlAnswer(error=told, code=queries.OUT_OF_MEMORY)
        case _:
            return SqlAnswer(error=_one_line(str(error)), code=queries.FAILED)


def utc(time: datetime) -> datetime:
    """As the views hold times: without a zone, which is UTC."""
    return time.astimezone(UTC).replace(tzinfo=None)


def rows(
    connection: duckdb.DuckDBPyConnection, *, rows_max: int | None
) -> Iterator[tuple[object, ...]]:
    """Rows of what was executed, as JSON can say them: one more than ``rows_max`` if there are."""
    left = math.inf if rows_max is None else rows_max + 1
    while fetched := connection.fetchmany(int(min(FETCHED_ROWS, left))):
        left -= len(fetched)
        for row in fetched:
            yield tuple(plain(value) for value in row)
        if left == 0:
            return


def execute(connection: duckdb.DuckDBPyConnection, statement: str) -> tuple[str, ...]:
    """Names of the columns that can be fetched."""
    _execute(connection, statement)
    return tuple(str(column[0]) for column in connection.description or ())


def _execute(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    connection.execute(statement)
    columns = connection.description or []
    written = [_ZONED in str(column[1]) for column in columns]
    if not any(written):
        return
    # To fetch these, DuckDB wants pytz: have it write them itself.
    names = [f"c{index}" for index in range(len(columns))]
    shown = ", ".join(
        f"{name}::VARCHAR AS {_quoted(column[0])}" if as_text else f"{name} AS {_quoted(column[0])}"
        for name, as_text, column in zip(names, written, columns, strict=True)
    )
    connection.execute(
        f"SELECT {shown} FROM query($statement) AS answer ({', '.join(names)})",  # noqa: S608 - quoted
        {"statement": statement},
    )


def _quoted(name: object) -> str:
    return '"' + str(name).replace('"', '""') + '"'


def _answer(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    sequence: int,
    *,
    rows_max: int,
    bytes_max: int,
) -> bytes:
    columns = execute(connection, statement)
    answer = SqlAnswer(sequence=sequence, columns=columns, truncated=True)
    room = bytes_max - len(_encode(answer))
    kept: list[tuple[object, ...]] = []
    for row in rows(connection, rows_max=rows_max):
        room -= len(_encode(row)) + 1
        if len(kept) == rows_max or room < 0:
            return _encode(msgspec.structs.replace(answer, rows=tuple(kept)))
        kept.append(row)
    return _encode(msgspec.structs.replace(answer, rows=tuple(kept), truncated=False))


def plain(value: Any) -> object:
    """``value`` as JSON can say it without loss: what it has no type for becomes a string."""
    match value:
        case None | str() | bool():
            return value
        case int():
            return value if -_INTEGER_MAX <= value <= _INTEGER_MAX else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return str(value)
        case Mapping():
            return {str(plain(key)): plain(part) for key, part in value.items()}
        case list() | tuple():
            return [plain(part) for part in value]
        case _:
            # Times, UUIDs and bytes: as msgspec writes them.
            return value


def _one_line(text: str) -> str:
    """DuckDB's message without the picture of where in the statement it is."""
    return " ".join(text.partition("\n\nLINE ")[0].split())
