import asyncio
from collections.abc import Callable

import nats
import nats.js.errors
import pytest

from services.journal import JournalUnavailable, streams
from services.journal.keys import ContentKeys
from services.sealing import Sealer, Unreadable, fresh_key


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what a sealer knows is no event
            await asyncio.sleep(0.005)


def opens(sealer: Sealer, blob: str) -> bool:
    try:
        return bool(sealer.open(blob))
    except Unreadable:
        return False


async def test_all_who_begin_at_once_seal_with_the_same_key(empty_server_url):
    clients = [await nats.connect(empty_server_url) for _ in range(8)]
    try:
        await streams.declare(clients[0])
        sealers = await asyncio.gather(*(ContentKeys(each).sealer() for each in clients))
        blobs = [each.seal("text") for each in sealers]
        assert {each.open(blob) for each in sealers for blob in blobs} == {"text"}
        assert [key.number for key in await ContentKeys(clients[0]).above(0)] == [1]
    finally:
        for client in clients:
            await client.close()


async def test_a_key_of_a_number_is_made_once_whoever_makes_it(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        await streams.declare(client)
        keys = ContentKeys(client)
        first = await keys.make(1, fresh_key())
        made = await asyncio.gather(*(keys.make(2, fresh_key()) for _ in range(8)))
        assert len({each.key for each in made}) == 1
        assert await keys.make(1, fresh_key()) == first
        assert await keys.above(0) == (first, made[0])
        assert await keys.above(1) == (made[0],)
        assert await keys.get(3) is None


async def test_a_key_is_taken_up_as_soon_as_it_is_made(empty_server_url):
    async with (
        await nats.connect(empty_server_url) as client,
        await nats.connect(empty_server_url) as other,
    ):
        await streams.declare(client)
        running = await ContentKeys(client).sealer()
        before = running.seal("before")
        made = await ContentKeys(other).make(2, fresh_key())

        await until(lambda: opens(Sealer(made.key), running.seal("after")))
        assert running.open(before) == "before"


async def test_a_key_nobody_has_heard_of_is_looked_up_when_it_is_met(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        await streams.declare(client)
        keys = ContentKeys(client)
        first = await keys.make(1, fresh_key())

        async def look(known: int) -> tuple[bytes, ...]:
            return tuple(each.key for each in await keys.above(known))

        deaf = Sealer(first.key, look=look)
        blob = Sealer((await keys.make(2, fresh_key())).key).seal("met")
        assert not opens(deaf, blob)
        assert await deaf.opening(lambda: deaf.open(blob)) == "met"


async def test_a_key_nobody_can_keep_is_not_handed_out(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        with pytest.raises((JournalUnavailable, nats.js.errors.NotFoundError)):
            await ContentKeys(client).sealer()
