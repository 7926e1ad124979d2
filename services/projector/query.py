"""Runs one statement of an analyst and makes JSON of what it answers."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import duckdb
import msgspec

from schemas.queries import SqlAnswer
from services.projector import guard

FETCHED_ROWS = 256
_INTEGER_MAX = 2**63 - 1

_encode = msgspec.json.Encoder(enc_hook=str).encode
_ZONED = "TIMESTAMP WITH TIME ZONE"
_SEQUENCE = "SELECT sequence FROM projection"


def run(
    connection: duckdb.DuckDBPyConnection, statement: str, *, rows_max: int, bytes_max: int
) -> bytes | None:
    """The encoded `SqlAnswer`, at most ``bytes_max`` long; none if it was interrupted.

    ``connection`` is used for nothing else, and closed.
    """
    try:
        guard.check(connection, statement)
        connection.execute("BEGIN TRANSACTION READ ONLY")
        row = connection.execute(_SEQUENCE).fetchone()
        assert row is not None
        _execute(connection, statement)
        return _answer(connection, sequence=row[0], rows_max=rows_max, bytes_max=bytes_max)
    except guard.StatementRefused as refused:
        return failed(str(refused))
    except duckdb.InterruptException:
        return None
    except duckdb.Error as error:
        return failed(_one_line(str(error)))
    finally:
        connection.close()


def failed(text: str, *, sequence: int = 0) -> bytes:
    """An answer that says why there is none."""
    return _encode(SqlAnswer(error=text, sequence=sequence))


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
    connection: duckdb.DuckDBPyConnection, *, sequence: int, rows_max: int, bytes_max: int
) -> bytes:
    columns = tuple(str(column[0]) for column in connection.description or ())
    answer = SqlAnswer(sequence=sequence, columns=columns, truncated=True)
    room = bytes_max - len(_encode(answer))
    rows: list[tuple[object, ...]] = []
    while fetched := connection.fetchmany(min(FETCHED_ROWS, rows_max + 1 - len(rows))):
        for row in fetched:
            values = tuple(plain(value) for value in row)
            room -= len(_encode(values)) + 1
            if len(rows) == rows_max or room < 0:
                return _encode(msgspec.structs.replace(answer, rows=tuple(rows)))
            rows.append(values)
    return _encode(msgspec.structs.replace(answer, rows=tuple(rows), truncated=False))


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
