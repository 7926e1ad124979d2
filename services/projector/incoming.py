"""How a batch's rows reach DuckDB: one Arrow stream per statement, registered once and refilled.

Registering anew for each batch would cost as much as the rest of a small transaction.
"""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from services.projector import view
from services.projector.view import View


class Incoming:
    """The rows of one statement, as DuckDB asks for them when it runs."""

    def __init__(self, schema: pa.Schema) -> None:
        """Without rows; they have these columns."""
        self._empty = schema.empty_table()
        self._table = self._empty

    def fill(self, table: pa.Table | None = None) -> None:
        """Let ``table`` be what the next statement reads; without one, let go of the last."""
        self._table = self._empty if table is None else table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """As the Arrow PyCapsule interface says."""
        return self._table.__arrow_c_stream__(requested_schema)  # type: ignore[no-untyped-call]  # as pyarrow-stubs have it


class Statement:
    """A statement of a view on an open connection."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, name: str, text: str, schema: pa.Schema
    ) -> None:
        """Make the table called ``name`` that ``text`` reads. The view's own tables are there."""
        self._connection = connection
        self._incoming = Incoming(schema)
        connection.register(name, self._incoming)
        self._text = text
        if text.lstrip().startswith("INSERT"):
            # Thrice as fast when the batch is small. Joins are planned anew each time: their
            # plan depends on how large the tables have become.
            connection.execute(f"PREPARE {name} AS {text}")
            self._text = f"EXECUTE {name}"

    def execute(self, rows: pa.Table) -> None:
        """Run it on ``rows``, within the connection's transaction."""
        self._incoming.fill(rows)
        try:
            self._connection.execute(self._text)
        finally:
            self._incoming.fill()


def statements(
    connection: duckdb.DuckDBPyConnection, views: Sequence[View]
) -> dict[tuple[str, str], Statement]:
    """Every statement of ``views``, by view and name, in the order they are executed in."""
    made = {}
    for each in views:
        texts, owner = view.statements(each), view.name(each)
        for name, schema in each.INCOMING.items():
            made[owner, name] = Statement(connection, f"{owner}_{name}", texts[name], schema)
    return made
