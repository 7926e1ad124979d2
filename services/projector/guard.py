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

FUNCTIONS_REFUSED = frozenset({"nextval", "setval", "sleep_ms", "write_log"})
"""Those that do something, or nothing for as long as they are told."""

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
    for name, of_rows in _functions(_tree(connection, statement)):
        if of_rows and name not in TABLE_FUNCTIONS:
            raise StatementRefused(f"table function {name} is not available here")
        if not of_rows and name in FUNCTIONS_REFUSED:
            raise StatementRefused(f"function {name} is not available here")


def _tree(connection: duckdb.DuckDBPyConnection, statement: str) -> object:
    serialized = connection.execute(
        "SELECT json_serialize_sql($statement)", {"statement": statement}
    )
    ((text,),) = serialized.fetchall()
    tree = msgspec.json.decode(str(text))
    if not isinstance(tree, dict) or tree.get("error"):
        raise StatementRefused("this form of SELECT is not available here")
    return tree


def _functions(node: object) -> Iterator[tuple[str, bool]]:
    """Names of all functions in a syntax tree, and whether they make tables."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
            if node.get("type") == "TABLE_FUNCTION":
                yield str(node["function"]["function_name"]).lower(), True
            elif node.get("class") == "FUNCTION":
                yield str(node["function_name"]).lower(), False
