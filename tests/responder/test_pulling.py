"""No more is taken off the queue than can be worked on, and what has become old is told from it."""

import asyncio

import nats
import pytest
from nats.aio.msg import Msg

from schemas import subjects
from services import clock
from services.journal import streams
from services.responder import pulling
from services.responder.pulling import PatientPull
from tests.journal.conftest import server

SUBJECT = subjects.turn_request("default", "conv_1")


@pytest.fixture
async def pull(tmp_path):
    with server(tmp_path) as url:
        async with await nats.connect(url) as client:
            await streams.declare(client)
            js = client.jetstream()
            subscription = await js.pull_subscribe(
                subjects.ALL_TURN_REQUESTS,
                durable=subjects.RESPONDER,
                stream=subjects.TURN_REQUESTS,
            )
            for number in range(3):
                await js.publish(SUBJECT, str(number).encode())

            async def declare() -> None:
                await streams.declare(client)

            yield PatientPull(declare, places=2).over(subscription)


async def fetched(pull: PatientPull) -> Msg:
    (message,) = await pull.fetch(1, 10.0)
    return message


async def delivered(pull: PatientPull) -> int:
    info = await pull._pull.consumer_info()
    return info.delivered.consumer_seq


async def test_nothing_is_fetched_until_there_is_a_place_for_it(pull: PatientPull):
    first, second = await fetched(pull), await fetched(pull)
    with pull.place(second), pull.place(first) as old:
        assert not old
        waiting = asyncio.create_task(fetched(pull))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert (done, await delivered(pull)) == (set(), 2)
    third = await waiting
    assert (third.data, await delivered(pull)) == (b"2", 3)


async def test_a_place_is_free_again_when_nothing_comes(pull: PatientPull):
    for _ in range(3):
        with pull.place(await fetched(pull)):
            pass
    for _ in range(3):
        with pytest.raises(nats.errors.TimeoutError):
            await pull.fetch(1, 0.05)


async def test_what_was_on_its_way_for_long_is_old(
    pull: PatientPull, monkeypatch: pytest.MonkeyPatch
):
    message = await fetched(pull)
    later = clock.monotonic() + pulling.OLD_S
    monkeypatch.setattr(clock, "monotonic", lambda: later + 1)
    with pull.place(message) as old:
        assert old


async def test_what_another_has_fetched_takes_no_place(pull: PatientPull):
    stranger = await pull._pull.fetch(1, 10.0)
    with pull.place(stranger[0]) as old:
        assert not old
    first, second = await fetched(pull), await fetched(pull)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pull.fetch(1, 1.0), 0.2)
    with pull.place(first), pull.place(second):
        pass


async def test_what_comes_to_who_stops_is_given_back_at_once(pull: PatientPull):
    for _ in range(3):
        with pull.place(message := await fetched(pull)):
            await message.ack()
    asking = asyncio.create_task(pull.fetch(1, 10.0))
    info = pull._pull.consumer_info
    while not (await info()).num_waiting:
        continue
    pull.stop()
    await pull._pull._js.publish(SUBJECT, b"late")
    with pytest.raises(nats.errors.TimeoutError):
        await asking
    (again,) = await pull._pull.fetch(1, 10.0)
    assert (again.data, again.metadata.num_delivered) == (b"late", 2)
    with pytest.raises(nats.errors.TimeoutError):
        await pull.fetch(1, 0.01)
