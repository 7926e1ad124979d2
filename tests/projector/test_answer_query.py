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
    running = [asyncio.create_task(ask(client, endless, time_s_max=3)) for _ in range(2)]
    await client.flush()
    answer = await ask(client, "SELECT 1", wait_s=0.05)
    assert answer.error == "other statements ran for 0.05 s: try again"
    await asyncio.gather(*running)


async def test_writing_goes_on_while_statements_run(client, projector, log):
    endless = "SELECT count(*) FROM items, range(10000000000) a, range(10000000000) b"
    running = [asyncio.create_task(ask(client, endless, time_s_max=4)) for _ in range(2)]
    await client.flush()
    for number in range(2, 12):
        log.commit("c1", added(message(f"x{number}")))
        await log.publish(client.jetstream(), start=number - 1)
    assert await projector.reached(11, wait_s=3.5)
    assert not any(task.done() for task in running)
    await asyncio.gather(*running)


async def test_an_answer_is_cut_at_what_a_message_can_carry(client):
    statement = "SELECT repeat('x', 100000) FROM range(1000)"
    answer = await client.request(
        subjects.ask("sql"), msgspec.json.encode({"statement": statement}), timeout=30
    )
    assert len(answer.data) <= client.max_payload
    decoded = msgspec.json.decode(answer.data, type=SqlAnswer)
    assert decoded.truncated
    assert 0 < len(decoded.rows) < 1000


async def test_what_is_no_question_is_answered_so(client):
    answer = await client.request(subjects.ask("sql"), b"SELECT 1", timeout=30)
    decoded = msgspec.json.decode(answer.data, type=SqlAnswer)
    assert decoded.error is not None
    assert decoded.error.startswith("not a question: ")
