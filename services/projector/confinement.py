"""One project's rows and no others: for analysts who may not see the rest.

Every table and view is hidden behind a temporary one of the same name that has the project's rows.
Statements name no others (`guard.check_confined`). Whatever they compute is computed of these rows
alone: a condition that an analyst thinks of must not meet another project's row before that is left
out, or it could tell of it by failing.
"""

import duckdb

_VIEWS = """
SELECT DISTINCT database_name, table_name
FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = 'main' AND NOT internal
    AND column_name = 'project'
"""
_LAST = 2**63 - 1
"""More rows than there are: DuckDB moves no condition to the inside of a limit."""


def confine(connection: duckdb.DuckDBPyConnection, project: str) -> frozenset[str]:
    """Names a connection has from now on, each for rows of ``project`` only."""
    found = connection.execute(_VIEWS).fetchall()
    for database, name in found:
        connection.execute(
            f"CREATE TEMP VIEW {_name(name)} AS "  # noqa: S608 - quoted
            f"SELECT * FROM {_name(database)}.main.{_name(name)} "
            f"WHERE project = {_text(project)} LIMIT {_LAST}"
        )
    return frozenset(str(name).lower() for _, name in found)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
