"""Which statements of analysts are run: one SELECT, or its EXPLAIN, of known table functions.

The connection alone would not do: a SELECT may call functions that read memory by address
(``arrow_scan``) or run another statement out of a string (``query``).
"""

import re
from collections.abc import Iterator

import duckdb
import msgspec

TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_tables",
        "duckdb_types",
        "duckdb_views",
        "generate_series",
        "histogram",
        "histogram_values",
        "json_each",
        "json_tree",
        "pragma_table_info",
        "range",
        "repeat",
        "repeat_row",
        "unnest",
    }
)
"""Those that only compute, or read the catalogue."""

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)


class StatementRefused(Exception):
    """The statement is not one that only reads the views."""


def check(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Return if ``statement`` only reads; raises `StatementRefused`, or `duckdb.Error` unparsed."""
    statements = connection.extract_statements(statement)
    if len(statements) != 1:
        raise StatementRefused(f"expected one statement, got {len(statements)}")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        explained = _EXPLAIN.sub("", statement, count=1)
        if explained == statement:
            raise StatementRefused("EXPLAIN must come first, and without options")
        check(connection, explained)
        return
    if kind == duckdb.StatementType.MULTI:
        raise StatementRefused("PIVOT is possible as SELECT * FROM ... PIVOT (... IN (...)) only")
    if kind != duckdb.StatementType.SELECT:
        raise StatementRefused(f"only SELECT is possible here, not {kind.name}")
    for name in _table_functions(_tree(connection, statement)):
        if name not in TABLE_FUNCTIONS:
            raise StatementRefused(f"table function {name} is not available here")


def _tree(connection: duckdb.DuckDBPyConnection, statement: str) -> object:
    row = connection.execute("SELECT json_serialize_sql($statement)", {"statement": statement})
    tree = msgspec.json.decode(str((row.fetchone() or ("null",))[0]))
    if not isinstance(tree, dict) or tree.get("error"):
        raise StatementRefused("this form of SELECT is not available here")
    return tree


def _table_functions(node: object) -> Iterator[str]:
    """Names of all table functions in a syntax tree."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
            if node.get("type") == "TABLE_FUNCTION":
                yield str(node["function"]["function_name"]).lower()
