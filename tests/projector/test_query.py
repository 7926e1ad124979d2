"""Statements of analysts, on the database alone."""

import msgspec
import pytest

from schemas.queries import SqlAnswer
from services.projector import query
from services.projector.database import Database
from tests.builders import added, created, message
from tests.projector.builders import Log, applied, opened


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    log = Log()
    log.commit("c1", created(topic="tea"), added(message("m1"), message("m2")))
    database = opened(tmp_path_factory.mktemp("views"))
    applied(database, log.messages)
    yield database
    database.close()


def asked(database: Database, statement: str, *, rows_max: int = 100) -> SqlAnswer:
    answer = query.run(database.cursor(), statement, rows_max=rows_max, bytes_max=1_000_000)
    assert answer is not None
    return msgspec.json.decode(answer, type=SqlAnswer)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO items (item_id) VALUES ('x')", "only SELECT is possible here, not INSERT"),
        ("UPDATE items SET tokens = 0", "only SELECT is possible here, not UPDATE"),
        ("DELETE FROM items", "only SELECT is possible here, not DELETE"),
        ("DROP TABLE items", "only SELECT is possible here, not DROP"),
        ("CREATE TEMP TABLE x (y INTEGER)", "only SELECT is possible here, not CREATE"),
        ("COPY items TO '/tmp/x.csv'", "only SELECT is possible here, not COPY"),
        ("EXPORT DATABASE '/tmp/x'", "only SELECT is possible here, not EXPORT"),
        ("ATTACH '/tmp/x.duckdb'", "only SELECT is possible here, not ATTACH"),
        ("SET threads = 64", "only SELECT is possible here, not SET"),
        ("PRAGMA database_list", "only SELECT is possible here, not PRAGMA"),
        ("CALL pragma_version()", "only SELECT is possible here, not CALL"),
        ("CHECKPOINT", "only SELECT is possible here, not CALL"),
        ("LOAD httpfs", "only SELECT is possible here, not LOAD"),
        ("BEGIN", "only SELECT is possible here, not TRANSACTION"),
        ("SELECT 1; SELECT 2", "expected one statement, got 2"),
        ("", "expected one statement, got 0"),
        ("EXPLAIN ANALYZE INSERT INTO items (item_id) VALUES ('x')", "only SELECT is possible"),
        ("EXPLAIN ANALYZE FROM arrow_scan(1, 2, 3)", "table function arrow_scan is not available"),
        ("FROM read_csv('/etc/passwd')", "table function read_csv is not available here"),
        ("FROM read_text('/etc/passwd')", "table function read_text is not available here"),
        ("FROM glob('/*')", "table function glob is not available here"),
        ("FROM arrow_scan(1, 2, 3)", "table function arrow_scan is not available here"),
        ('FROM "ARROW_SCAN" (1, 2, 3)', "table function arrow_scan is not available here"),
        ("WITH x AS (FROM query('FROM items')) FROM x", "table function query is not available"),
        ("SELECT (SELECT 1 FROM force_checkpoint())", "table function force_checkpoint is not"),
        ("SELECT EXISTS (FROM items, checkpoint())", "table function checkpoint is not available"),
        ("SUMMARIZE SELECT * FROM pandas_scan(1)", "table function pandas_scan is not available"),
        ("PIVOT items ON origin", "PIVOT is possible as SELECT"),
        ("FROM '/etc/passwd'", "Catalog Error: Table with name /etc/passwd does not exist!"),
        ("FROM client", "Catalog Error: Table with name client does not exist!"),
        ("SELEC 1", "Parser Error: syntax error at or near"),
        ("SELECT nothing FROM items", "Binder Error: Referenced column"),
        ("SELECT error('no')", "Invalid Input Error: no"),
    ],
)
def test_whatever_does_not_only_read_the_views_is_refused(views, statement, error):
    answer = asked(views, statement)
    assert answer.error is not None
    assert answer.error.startswith(error)
    assert "\n" not in answer.error
    assert (answer.rows, answer.columns) == ((), ())


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1;",
        "FROM items",
        "DESCRIBE items",
        "SHOW TABLES",
        "SUMMARIZE items",
        "VALUES (1)",
        "TABLE items",
        "EXPLAIN SELECT * FROM items",
        "EXPLAIN ANALYZE SELECT * FROM items",
        "WITH x AS (SELECT 1) FROM x",
        "SELECT * FROM range(3), unnest([1, 2])",
        "SELECT metadata ->> 'topic' FROM conversations",
        "SELECT * FROM items PIVOT (count(*) FOR origin IN ('added', 'input'))",
        "SELECT * FROM information_schema.columns",
        "FROM turns JOIN token_usage USING (response_id)",
    ],
)
def test_what_only_reads_is_answered(views, statement):
    answer = asked(views, statement)
    assert answer.error is None
    assert answer.columns


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("NULL", None),
        ("true", True),
        ("sum(i)", 6),
        ("170141183460469231731687303715884105727::HUGEINT", str(2**127 - 1)),
        ("1.50::DECIMAL(5, 2)", "1.50"),
        ("'nan'::DOUBLE", "nan"),
        ("'-inf'::DOUBLE", "-inf"),
        ("TIMESTAMP '2020-01-02 03:04:05.678'", "2020-01-02T03:04:05.678000"),
        ("TIMESTAMPTZ '2020-01-02 03:04:05+02'", "2020-01-02 01:04:05+00"),
        ("[TIMESTAMPTZ '2020-01-02 03:04:05+00']", "['2020-01-02 03:04:05+00']"),
        ("DATE '2020-01-02'", "2020-01-02"),
        ("TIME '03:04:05'", "03:04:05"),
        ("INTERVAL 1 DAY", "P1D"),
        ("'68c6f3a4-1111-4222-8333-444455556666'::UUID", "68c6f3a4-1111-4222-8333-444455556666"),
        ("'ab'::BLOB", "YWI="),
        ("[1, NULL]", [1, None]),
        ("{'a': [1.5::DECIMAL(2, 1)]}", {"a": ["1.5"]}),
        ("MAP {DATE '2020-01-02': 1}", {"2020-01-02": 1}),
        ("'{\"a\": 1}'::JSON", '{"a": 1}'),
    ],
)
def test_every_value_has_a_form_in_json(views, value, shown):
    answer = asked(views, f"SELECT {value} FROM range(4) AS t (i) WHERE i < 4")
    if not answer.rows:
        pytest.fail(str(answer.error))
    assert answer.rows[0] == (shown,)


def test_column_names_survive_a_time_zone(views):
    answer = asked(views, 'SELECT now() AS "a ""b""", 1 AS n, 2 AS n;  -- end')
    assert answer.error is None
    assert answer.columns == ('a "b"', "n", "n")


def test_rows_are_cut_at_the_limit(views):
    answer = asked(views, "SELECT * FROM range(1000000000000)", rows_max=3)
    assert (answer.rows, answer.truncated) == (((0,), (1,), (2,)), True)
    answer = asked(views, "SELECT * FROM range(3)", rows_max=3)
    assert (answer.rows, answer.truncated) == (((0,), (1,), (2,)), False)
