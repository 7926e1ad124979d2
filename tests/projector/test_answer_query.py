import asyncio

import msgspec
import pytest

from schemas import subjects
from schemas.queries import SqlAnswer
from tests.builders import added, created, message
from tests.projector.builders import Log
from tests.projector.serving import ask, projecting, settings_for

pytestmark = pytest.mark.usefixtures("projector")


@pytest.fixture
async def log(client):
    written = Log()
    written.commit("c1", created(topic="tea"), added(message("m1"), message("m2")))
    await written.publish(client.jetstream())
    return written


@pytest.fixture
async def projector(nats_server, log, tmp_path):
    async with projecting(settings_for(nats_server, tmp_path / "views")) as projection:
        assert await projection.reached(len(log.messages), wait_s=10)
        yield projection


async def test_rows_come_with_their_columns_and_sequence(client):
    assert await ask(client, "SELECT item_id, position FROM items ORDER BY 2") == SqlAnswer(
        sequence=1, columns=("item_id", "position"), rows=(("m1", 0), ("m2", 1))
    )


async def test_an_answer_waits_for_the_sequence_it_is_asked_at(client, log):
    asked = asyncio.create_task(ask(client, "SELECT count(*) FROM items", sequence=2))
    await client.flush()
    log.commit("c1", added(message("m3")))
    await log.publish(client.jetstream(), start=1)

    answer = await asked
    assert (answer.sequence, answer.rows) == (2, ((3,),))


async def test_what_was_just_written_is_always_there(client, log):
    for number in range(2, 30):
        log.commit("c1", added(message(f"x{number}")))
        await log.publish(client.jetstream(), start=number - 1)
        answer = await ask(client, "SELECT count(*) FROM items", sequence=number)
        assert answer.rows == ((number + 1,),)


async def test_a_sequence_not_reached_in_time_is_said(client):
    answer = await ask(client, "SELECT 1", sequence=99, wait_s=0.05)
    assert answer.error == "the views stand at 1 and did not reach 99 in 0.05 s"
    assert answer.rows == ()


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
async def test_whatever_does_not_only_read_the_views_is_refused(client, statement, error):
    answer = await ask(client, statement)
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
async def test_what_only_reads_is_answered(client, statement):
    answer = await ask(client, statement)
    assert answer.error is None
    assert answer.columns


async def test_a_statement_is_ended_at_its_time_limit_and_the_next_is_answered(client):
    endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"
    one, two, three = await asyncio.gather(
        ask(client, endless, time_s_max=0.2),
        ask(client, endless, time_s_max=0.2),
        ask(client, "SELECT 1"),
    )
    ended = "the statement ran longer than 0.2 s and was ended"
    assert (one.error, two.error, three.rows) == (ended, ended, ((1,),))


async def test_a_question_that_finds_no_free_thread_in_time_is_told(client):
    endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"
    running = [asyncio.create_task(ask(client, endless, time_s_max=1)) for _ in range(2)]
    await client.flush()
    answer = await ask(client, "SELECT 1", wait_s=0.05)
    assert answer.error == "other statements ran for 0.05 s: try again"
    await asyncio.gather(*running)


async def test_writing_goes_on_while_statements_run(client, projector, log):
    endless = "SELECT count(*) FROM items, range(10000000000) a, range(10000000000) b"
    running = [asyncio.create_task(ask(client, endless, time_s_max=1)) for _ in range(2)]
    await client.flush()
    for number in range(2, 12):
        log.commit("c1", added(message(f"x{number}")))
        await log.publish(client.jetstream(), start=number - 1)
    assert await projector.reached(11, wait_s=0.9)
    assert not any(task.done() for task in running)
    await asyncio.gather(*running)


async def test_rows_are_cut_at_the_limit(client):
    answer = await ask(client, "SELECT * FROM range(1000000000000)", rows_max=3)
    assert (answer.rows, answer.truncated) == (((0,), (1,), (2,)), True)
    answer = await ask(client, "SELECT * FROM range(3)", rows_max=3)
    assert (answer.rows, answer.truncated) == (((0,), (1,), (2,)), False)


async def test_an_answer_is_cut_at_what_a_message_can_carry(client):
    statement = "SELECT repeat('x', 100000) FROM range(1000)"
    answer = await client.request(
        subjects.ask("sql"), msgspec.json.encode({"statement": statement}), timeout=20
    )
    assert len(answer.data) <= client.max_payload
    decoded = msgspec.json.decode(answer.data, type=SqlAnswer)
    assert decoded.truncated
    assert 0 < len(decoded.rows) < 1000


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
async def test_every_value_has_a_form_in_json(client, value, shown):
    answer = await ask(client, f"SELECT {value} FROM range(4) AS t (i) WHERE i < 4")
    if not answer.rows:
        pytest.fail(str(answer.error))
    assert answer.rows[0] == (shown,)


async def test_column_names_survive_a_time_zone(client):
    answer = await ask(client, 'SELECT now() AS "a ""b""", 1 AS n, 2 AS n;  -- end')
    assert answer.error is None
    assert answer.columns == ('a "b"', "n", "n")


async def test_what_is_no_question_is_answered_so(client):
    answer = await client.request(subjects.ask("sql"), b"SELECT 1", timeout=5)
    decoded = msgspec.json.decode(answer.data, type=SqlAnswer)
    assert decoded.error is not None
    assert decoded.error.startswith("not a question: ")
