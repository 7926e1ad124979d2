import asyncio
from collections.abc import Sequence
from contextlib import suppress

import nats
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import subjects
from services.journal import connect, streams
from services.projector import follow
from services.projector.follow import Follower, LogReplaced
from services.projector.log_client import LogClient
from services.projector.settings import ProjectorSettings
from tests.builders import added, created, message
from tests.projector.builders import Log, applied, contents, opened, played
from tests.projector.serving import (
    WAIT_S,
    Server,
    eventually,
    made_anew,
    projecting,
    settings_for,
    until_health,
)
from tests.projector.test_database import ACTIONS


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(follow, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(follow, "SILENCE_S", 0.3)


def chatter(commits: int, *, start: Log | None = None) -> Log:
    log = start or Log()
    for index in range(commits):
        name = f"c{index % 7}"
        if ("default", name) in log.states:
            log.commit(name, added(message(f"m{len(log.messages)}", "x" * 200)))
        else:
            log.commit(name, created())
    return log


def fresh(directory, log: Log) -> dict[str, str]:
    """What the views of ``log`` must hold."""
    database = opened(directory)
    applied(database, log.messages)
    try:
        return contents(database)
    finally:
        database.close()


def kept(directory) -> dict[str, str]:
    database = opened(directory)
    try:
        return contents(database)
    finally:
        database.close()


@pytest.fixture
async def log_client(nats_server: Server, client):
    assert client.is_connected
    connected = LogClient()
    await connected.connect(**connect.options(nats_server.url, name="test"))
    yield connected
    await connected.close()


class Taken:
    """A follower and everything it has given; messages with ``lost`` numbers never reach it."""

    def __init__(
        self,
        client: LogClient,
        *,
        after: int = 0,
        name: str = "",
        lost: Sequence[int] = (),
        **limits: int,
    ) -> None:
        self.follower = Follower(client, ProjectorSettings(**limits), after=after, name=name)
        self.sequences: list[int] = []
        self.lost = list(lost)
        self._receive, self.follower._receive = self.follower._receive, self._lossy
        self.follower.start()

    def _lossy(self, reply: bytes, headers: bytes, payload: bytes) -> None:
        sequence = int(reply.split(b".")[5]) if reply else 0
        if sequence in self.lost:
            self.lost.remove(sequence)
        else:
            self._receive(reply, headers, payload)

    async def until(self, sequence: int) -> list[int]:
        async with asyncio.timeout(WAIT_S):
            while self.follower.passed < sequence:
                self.sequences += [m.sequence for m in await self.follower.batch()]
        return self.sequences


async def test_every_message_comes_once_and_in_order(client, log_client):
    log = chatter(5000)
    await log.publish(client.jetstream())
    taken = Taken(log_client)

    assert await taken.until(5000) == list(range(1, 5001))
    log = chatter(10, start=log)
    await log.publish(client.jetstream(), start=5000)
    assert await taken.until(5010) == list(range(1, 5011))
    await taken.follower.stop()


async def test_it_begins_after_a_sequence(client, log_client):
    await chatter(20).publish(client.jetstream())
    taken = Taken(log_client, after=15)

    assert await taken.until(20) == [16, 17, 18, 19, 20]
    await taken.follower.stop()


async def test_no_more_is_asked_for_than_there_is_room(client, log_client):
    await chatter(6000).publish(client.jetstream())
    taken = Taken(log_client, buffer_events_max=follow.PULL_MESSAGES, batch_events_max=100)
    await eventually(lambda: len(taken.follower._buffer) >= follow.PULL_MESSAGES)
    await client.flush()
    await log_client.flush()

    assert len(taken.follower._buffer) == follow.PULL_MESSAGES
    assert len(await taken.follower.batch()) == 100
    assert len(await taken.until(6000)) == 5900
    await taken.follower.stop()


async def test_a_deleted_consumer_is_replaced_without_a_gap(client, log_client):
    stream = client.jetstream()
    log = chatter(50)
    await log.publish(stream)
    taken = Taken(log_client)
    await taken.until(50)
    for consumer in await stream.consumers_info(subjects.CONVERSATIONS):
        if consumer.config.durable_name is None:
            await stream.delete_consumer(subjects.CONVERSATIONS, consumer.name)
    await chatter(50, start=log).publish(stream, start=50)

    assert await taken.until(100) == list(range(1, 101))
    await taken.follower.stop()


@pytest.mark.parametrize("lost", [(1,), (150, 151, 290), (300,), (300, 300)])
async def test_messages_lost_on_the_way_are_fetched_again(client, log_client, lost):
    await chatter(300).publish(client.jetstream())
    taken = Taken(log_client, lost=lost)

    assert await taken.until(300) == list(range(1, 301))
    assert taken.lost == []
    await taken.follower.stop()


async def test_messages_deleted_at_the_end_are_passed(client, log_client):
    stream = client.jetstream()
    await chatter(5).publish(stream)
    for sequence in (3, 5):
        await stream.delete_msg(subjects.CONVERSATIONS, sequence)
    taken = Taken(log_client)

    assert await taken.until(5) == [1, 2, 4]
    await taken.follower.stop()


async def test_a_restart_of_the_server_loses_nothing(tmp_path):
    server = Server(tmp_path)
    server.start()
    client = await nats.connect(server.url)
    await streams.declare(client)
    log = chatter(30)
    await log.publish(client.jetstream())
    await client.close()
    connected = LogClient()
    await connected.connect(**connect.options(server.url, name="test"))
    taken = Taken(connected)
    await taken.until(30)

    server.stop()
    server.start()
    client = await nats.connect(server.url)
    await chatter(30, start=log).publish(client.jetstream(), start=30)

    assert await taken.until(60) == list(range(1, 61))
    await taken.follower.stop()
    await connected.close()
    await client.close()
    server.stop()


async def _quiet(_error: Exception) -> None:
    pass


@pytest.mark.parametrize("commits", [0, 3, 8])
async def test_a_log_made_anew_is_not_followed(client, log_client, commits):
    stream = client.jetstream()
    await chatter(5).publish(stream)
    taken = Taken(log_client)
    await taken.until(5)
    name = taken.follower.name
    await taken.follower.stop()
    await made_anew(client)
    await chatter(commits).publish(stream)

    again = Taken(log_client, after=5, name=name)
    with pytest.raises(LogReplaced):
        await again.until(6)
    await again.follower.stop()


async def test_a_log_that_is_gone_is_not_followed(client, log_client):
    await client.jetstream().delete_stream(subjects.CONVERSATIONS)
    taken = Taken(log_client, after=5)
    with pytest.raises(LogReplaced):
        await taken.until(6)
    await taken.follower.stop()


async def test_views_of_a_log_made_anew_are_made_anew(nats_server, client, tmp_path):
    stream = client.jetstream()
    await chatter(5).publish(stream)
    used = settings_for(nats_server, tmp_path / "views")
    async with projecting(used):
        await until_health(client, lambda health: health.sequence == 5)
    await made_anew(client)
    log = Log()
    log.commit("other", created(), added(message("m1")))
    await log.publish(stream)

    async with projecting(used):
        await until_health(client, lambda health: health.ok and health.sequence == 1)
    assert kept(tmp_path / "views") == fresh(tmp_path / "fresh", log)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS, cut=st.floats(0, 1))
def test_a_real_log_is_projected_as_if_delivered_by_hand(
    nats_server, tmp_path_factory, actions, cut
):
    directory = tmp_path_factory.mktemp("views")
    asyncio.run(_projected(nats_server, directory, played(actions), cut))


async def _projected(nats_server: Server, directory, log: Log, cut: float) -> None:
    """Project a log in two runs of the projector, written while they run."""
    client = await nats.connect(nats_server.url)
    await made_anew(client)
    everything, part = log.messages, int(len(log.messages) * cut)
    used = settings_for(nats_server, directory / "views")
    for end in (part, len(everything)):
        log.messages = everything[:end]
        async with projecting(used) as projection:
            await log.publish(client.jetstream(), start=0 if end == part else part)
            assert await projection.reached(end, wait_s=WAIT_S)
    await client.close()
    assert kept(directory / "views") == fresh(directory / "fresh", log)


async def test_the_projector_says_when_it_cannot_reach_the_log(tmp_path):
    server = Server(tmp_path)
    server.start()
    async with projecting(settings_for(server, tmp_path / "views")) as views:
        client = await nats.connect(server.url, allow_reconnect=False, error_cb=_quiet)
        await until_health(client, lambda health: health.ok)
        server.stop()
        await eventually(lambda: views.hindrance() == "the log cannot be reached")
        with suppress(nats.errors.Error):
            await client.close()
