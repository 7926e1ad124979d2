"""Statements of analysts, on the database alone."""

import msgspec
import pytest

from schemas.queries import SqlAnswer
from services.projector import query
from services.projector.database import Database
from tests.builders import added, created, message
from tests.projector.builders import Log, applied, opened
from tests.projector.refused import REFUSED


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    log = Log()
    log.commit("c1", created(topic="tea"), added(message("m1"), message("m2")))
    database = opened(tmp_path_factory.mktemp("views"))
    applied(database, log.messages)
    yield database
    database.close()


def asked(database: Database, statement: str, *, rows_max: int = 100) -> SqlAnswer:
    try:
        answer = query.run(database.cursor(), statement, rows_max=rows_max, bytes_max=1_000_000)
    except query.TOLD as error:
        return query.reason(error, time_s=1)
    return msgspec.json.decode(answer, type=SqlAnswer)


@pytest.mark.parametrize(("statement", "error"), REFUSED)
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
