"""What an export takes from the views: tables, their parts, and which of them have changed.

A part is a day and a project of a table, by a time that never changes. Whatever changes a row is an
event of its conversation: parts without a row of a conversation that has had one are as they were.
A conversation that was erased has no rows: each part of a day of its life may have had some.
Views of these tables, token_usage and tool_calls, are left to whoever reads them.
"""

from collections.abc import Iterator
from datetime import datetime

import duckdb
import msgspec
import pyarrow as pa

from schemas.queries import Export, ExportedPart, ExportOpened, ExportState
from services.projector import query
from services.projector.pieces import BATCH_ROWS, stream


class ExportRefused(Exception):
    """What was exported before has nothing to do with this log."""


class Exported(msgspec.Struct, frozen=True):
    """A table, the time its rows are of, and an order of them that is always the same."""

    time: str
    order: str
    columns: str = "* EXCLUDE (project)"


TABLES = {
    "conversations": Exported(
        "created_at",
        "sequence, conversation_id",
        "* EXCLUDE (project) REPLACE (metadata::VARCHAR AS metadata)",
    ),
    "items": Exported("added_at", "sequence, position, item_id"),
    "turns": Exported("requested_at", "requested_at, response_id"),
    "compactions": Exported("made_at", "sequence, item_id"),
    "events": Exported("committed_at", "sequence, number"),
    "erasures": Exported("erased_at", "sequence, day"),
}

_STATE = "SELECT sequence, log, versions FROM projection"
_PARKED = "SELECT sequence FROM parked ORDER BY sequence"
_FROM_TIME = "SELECT min(sequence) - 1 FROM events WHERE committed_at >= $at"


def opened(connection: duckdb.DuckDBPyConnection, asked: Export) -> ExportOpened:
    """What all that is read from ``connection`` from now on stands for.

    Raises `ExportRefused`.
    """
    query.stand(connection)
    ((sequence, log, versions),) = connection.execute(_STATE).fetchall()
    parked = tuple(row[0] for row in connection.execute(_PARKED).fetchall())
    state = ExportState(sequence=sequence, log=log, versions=versions, parked=parked)
    return ExportOpened(state=state, since=_since(connection, asked, state))


def parts(connection: duckdb.DuckDBPyConnection, since: int) -> list[ExportedPart]:
    """Those in which anything may have changed after ``since``."""
    found = []
    for name, table in TABLES.items():
        statement = f"""
            WITH touched AS (
                SELECT DISTINCT project, conversation_id FROM events WHERE sequence > $since
            )
            SELECT DISTINCT {table.time}::DATE AS day, project
            FROM {name} SEMI JOIN touched USING (project, conversation_id)
            UNION
            SELECT day, project FROM erasures WHERE sequence > $since
            ORDER BY day, project
        """  # noqa: S608 - constants
        rows = connection.execute(statement, {"since": since}).fetchall()
        found += [ExportedPart(table=name, day=day, project=project) for day, project in rows]
    return found


def rows(connection: duckdb.DuckDBPyConnection, part: ExportedPart) -> Iterator[bytes]:
    """An Arrow IPC stream of a part, the same bytes for the same rows."""
    table = TABLES[part.table]
    statement = f"""
        SELECT {table.columns} FROM {part.table}
        WHERE project = $project
            AND {table.time} >= $day::DATE AND {table.time} < $day::DATE + INTERVAL 1 DAY
        ORDER BY {table.order}
    """  # noqa: S608 - constants
    relation = connection.sql(statement, params={"project": part.project, "day": part.day})
    reader: pa.RecordBatchReader = relation.to_arrow_reader(BATCH_ROWS)
    return stream(iter(reader), reader.schema)


def _since(connection: duckdb.DuckDBPyConnection, asked: Export, state: ExportState) -> int:
    known = asked.known
    if known is not None:
        if known.log != state.log:
            raise ExportRefused("it was exported from another log")
        if known.sequence > state.sequence:
            raise ExportRefused(
                f"it was exported at {known.sequence}, and the views stand at {state.sequence}"
            )
        if (known.versions, known.parked) != (state.versions, state.parked):
            return 0
    if asked.since_at is not None:
        return _sequence_before(connection, asked.since_at, state.sequence)
    if asked.since is not None:
        return asked.since
    return known.sequence if known is not None else 0


def _sequence_before(connection: duckdb.DuckDBPyConnection, at: datetime, sequence: int) -> int:
    ((before,),) = connection.execute(_FROM_TIME, {"at": query.utc(at)}).fetchall()
    return sequence if before is None else int(before)
