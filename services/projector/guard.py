"""Which statements of analysts are run: one SELECT, or its EXPLAIN, of known table functions.

The connection alone would not do: a SELECT may call functions that read memory by address
(``arrow_scan``) or run another statement out of a string (``query``).
"""

import re
from collections.abc import Iterator
from typing import Any

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

FUNCTIONS_REFUSED = frozenset(
    {
        # They do something, or nothing for as long as they are told.
        *("nextval", "setval", "sleep_ms", "write_log"),
        # It tells of directories of this machine.
        "current_setting",
        # It plans a statement it is given as a text: what of, and how much there is, shows.
        "json_serialize_plan",
        # The time they take is the product of both lengths, and nothing ends them before that.
        *("damerau_levenshtein", "editdist3", "levenshtein"),
        *("jaro_similarity", "jaro_winkler_similarity"),
        # Given JSON that is nested deeply enough they end the process.
        "json_contains",
    }
)

FAMILIES_REFUSED = ("variant_", "try_variant_")
"""How functions begin that turn JSON into `TYPES_REFUSED`, which ends the process as well."""
TYPES_REFUSED = frozenset({"variant"})

TABLES_REFUSED = frozenset(
    {
        "duckdb_databases",
        "duckdb_logs",
        "pg_prepared_statements",
        "pg_settings",
        "pragma_database_list",
    }
)
"""Views of DuckDB's own on functions that are no `TABLE_FUNCTIONS`."""

CONFINED_FUNCTIONS = frozenset(
    {
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_types",
        "generate_series",
        "json_each",
        "json_tree",
        "range",
        "repeat",
        "repeat_row",
        "unnest",
    }
)
"""Of the table functions, those that tell nothing of tables: neither how long they are, nor one
that is named by a text."""
CONFINED_REFUSED = frozenset({"stats"})
"""Functions that tell of a whole column whatever rows they are asked for."""
_SYSTEM = """
SELECT lower(view_name) FROM duckdb_views() WHERE internal
UNION SELECT lower(table_name) FROM duckdb_tables()
"""

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)


class StatementRefused(Exception):
    """The statement is not one that only reads the views."""


def check(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Return if ``statement`` only reads; raises `StatementRefused`, or `duckdb.Error` unparsed."""
    statements = connection.extract_statements(statement)
    if len(statements) != 1:
        raise StatementRefused(f"expected one statement, got {len(statements)}")
    kind = _kind(statements[0])
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
    for what, name in _names(_tree(connection, statement)):
        if _refused(what, name):
            raise StatementRefused(f"{what} {name} is not available here")


def _kind(statement: duckdb.Statement) -> duckdb.StatementType:
    try:
        return statement.type
    except ValueError as error:
        # There are kinds that Python knows no name of.
        raise StatementRefused("only SELECT is possible here") from error


def _refused(what: str, name: str) -> bool:
    match what:
        case "table function":
            return name not in TABLE_FUNCTIONS
        case "function":
            return name in FUNCTIONS_REFUSED or name.startswith(FAMILIES_REFUSED)
        case "table":
            return name in TABLES_REFUSED
        case _:
            return name in TYPES_REFUSED


def check_confined(
    connection: duckdb.DuckDBPyConnection, statement: str, names: frozenset[str]
) -> None:
    """As `check`, for a statement that may read what has one of ``names`` and nothing else."""
    check(connection, statement)
    if _EXPLAIN.match(statement):
        raise StatementRefused("EXPLAIN tells of all projects: it is not available here")
    tree = _tree(connection, statement)
    for what, name in _names(tree):
        if (what == "function" and name in CONFINED_REFUSED) or (
            what == "table function" and name not in CONFINED_FUNCTIONS
        ):
            raise StatementRefused(f"function {name} tells of all projects: not available here")
    defined = frozenset(_defined(tree))
    if taken := defined & (_system(connection) - names):
        raise StatementRefused(f"{min(taken)} cannot be the name of a common table expression")
    for node in _nodes(tree):
        match node.get("type"):
            case "SHOW_REF":
                raise StatementRefused("DESCRIBE, SHOW and SUMMARIZE are not available here")
            case "BASE_TABLE":
                _check_table(node, names | defined)
            case _:
                pass


def _check_table(node: dict[str, Any], names: frozenset[str]) -> None:
    name = str(node["table_name"])
    if node["catalog_name"] or node["schema_name"]:
        raise StatementRefused(f"{name} is to be named without a schema here")
    if name.lower() not in names:
        raise StatementRefused(f"table {name} is not available here")


def _system(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Names that lead past what a statement is confined to."""
    return frozenset(str(name) for (name,) in connection.execute(_SYSTEM).fetchall())


def _defined(tree: object) -> Iterator[str]:
    """Names of all common table expressions in a syntax tree."""
    for node in _nodes(tree):
        defined = node.get("cte_map")
        if isinstance(defined, dict):
            for each in defined["map"]:
                yield str(each["key"]).lower()


def _tree(connection: duckdb.DuckDBPyConnection, statement: str) -> object:
    serialized = connection.execute(
        "SELECT json_serialize_sql($statement)", {"statement": statement}
    )
    ((text,),) = serialized.fetchall()
    try:
        tree = msgspec.json.decode(str(text))
    except RecursionError as error:
        raise StatementRefused("the statement is nested too deeply") from error
    if not isinstance(tree, dict) or tree.get("error"):
        raise StatementRefused("this form of SELECT is not available here")
    return tree


def _names(tree: object) -> Iterator[tuple[str, str]]:
    """Whatever is named in a syntax tree, in small letters, behind what it is."""
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            yield "table function", str(node["function"]["function_name"]).lower()
        elif node.get("class") == "FUNCTION":
            yield "function", str(node["function_name"]).lower()
        elif node.get("class") == "TYPE":
            yield "type", str(node["type_name"]).lower()
        elif "table_name" in node:
            yield "table", str(node["table_name"]).lower()


def _nodes(node: object) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
            yield node
