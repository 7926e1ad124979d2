"""The log on three servers promises what the log on one does, whichever of them lags."""

import asyncio
import contextlib
import itertools
import signal
from pathlib import Path

import nats
import pytest

from schemas import subjects
from services.journal import keys, streams
from services.journal.connect import options
from services.journal.jetstream import JetStreamJournal
from services.journal.reading import sequence_of
from services.sealing import fresh_key
from services.settings import Settings
from tests.cluster.servers import SIZE, Cluster, cluster
from tests.journal.contract import PROJECT, ConversationsContract, JournalContract
from tests.whole.running import until

_numbers = itertools.count()
ROUNDS = 30
COMMITS = 20


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None):
    """Servers of their own: not all that is written here is a commit."""

    async def declare(client):
        await streams.declare(client, chosen=Settings(replicas=SIZE))

    with cluster(tmp_path_factory.mktemp("replicas")) as made:
        made.on(declare)
        yield made


@pytest.fixture
async def connect(servers: Cluster):
    async with contextlib.AsyncExitStack() as opened:

        async def one(url: str = ""):
            client = await nats.connect(**options(url or servers.url, name="test"))
            return await opened.enter_async_context(client)

        yield one


@pytest.fixture
async def journal(connect):
    return JetStreamJournal(await connect(), wait_s=5)


@pytest.fixture
def open_journal(connect):
    async def another():
        return JetStreamJournal(await connect(), wait_s=5)

    return another


@pytest.fixture
def conversation_id():
    return f"conv_{next(_numbers):08x}"


class TestReplicatedJournal(JournalContract):
    async def test_a_large_commit_is_told_by_the_leader(self, journal, conversation_id):
        # Its Base64 is longer than the longest message a client may send.
        payload = b"x" * (8 * 1024 * 1024 - 1024)
        await journal.append(
            PROJECT, conversation_id, payload, message_id="large", expected=0, headers={}
        )
        newest = await journal.last(PROJECT, conversation_id)
        assert newest is not None
        assert newest.payload == payload


class TestReplicatedConversations(ConversationsContract):
    async def headers_of(self, journal, _conversation_id, stored):
        message = await journal._client.jetstream().get_msg(
            subjects.CONVERSATIONS, seq=stored.sequence
        )
        return message.headers


async def test_what_a_replica_behind_has_not_seen_is_read_all_the_same(
    servers: Cluster, connect, conversation_id
):
    leader = await asyncio.to_thread(servers.leader, subjects.CONVERSATIONS)
    behind = (leader + 1) % SIZE
    writer = JetStreamJournal(await connect(servers.url_of(leader)))
    client = await connect(servers.url_of(behind))
    journal = JetStreamJournal(client)
    subject = subjects.conversation(PROJECT, conversation_id)
    direct = f"$JS.API.DIRECT.GET.{subjects.CONVERSATIONS}.{subject}"
    expected, old = 0, 0
    await journal.last(PROJECT, conversation_id)
    for number in range(ROUNDS):
        servers.send(behind, signal.SIGSTOP)
        try:
            for index in range(COMMITS):
                expected = await writer.append(
                    PROJECT,
                    conversation_id,
                    b"%d" % index,
                    message_id=f"{conversation_id}.{number}.{index}",
                    expected=expected,
                    headers={},
                )
            asked = [
                asyncio.create_task(client.request(direct, timeout=20)),
                asyncio.create_task(journal.last(PROJECT, conversation_id)),
                asyncio.create_task(journal.read(PROJECT, conversation_id, after=0)),
            ]
            while client._pending_data_size or not client._resp_map:  # noqa: ASYNC110 - as nats-py is
                await asyncio.sleep(0)
        finally:
            servers.send(behind, signal.SIGCONT)
        message, newest, commits = await asyncio.gather(*asked)
        assert newest.sequence == expected
        assert len(commits) == (number + 1) * COMMITS
        assert commits[-1].sequence == expected
        old += message.headers.get("Status") == "404" or sequence_of(message) < expected
    # What all this is for does happen.
    assert old


def test_the_configuration_that_is_shipped_is_one_the_server_takes(servers: Cluster):
    assert [servers.check(index) for index in range(SIZE)] == [0, 0, 0]


STREAMS = (
    subjects.CONVERSATIONS,
    subjects.TURN_REQUESTS,
    subjects.PARKED,
    subjects.KEYS_STREAM,
    subjects.DELTAS,
    subjects.REPEATS,
)


def test_a_log_on_one_server_is_spread_over_more_when_that_is_wanted(tmp_path: Path):
    async def on_one(client):
        await streams.declare(client)
        return await keys.ContentKeys(client).make(1, fresh_key())

    async def spread(client):
        await streams.declare(client, chosen=Settings(replicas=SIZE))
        # Nothing is narrowed by a process that does not know of it.
        await streams.declare(client)

    async def replicas(client):
        js = client.jetstream()
        consumer = await js.consumer_info(subjects.TURN_REQUESTS, subjects.RESPONDER)
        found = [await js.stream_info(name) for name in STREAMS]
        # The servers name no cluster while the stream is on its way from one to more.
        named = [info.cluster and info.cluster.replicas for info in (*found, consumer)]
        return [1 + len(others or ()) for others in named]

    async def make_again(client):
        for name in (subjects.DELTAS, subjects.REPEATS):
            await client.jetstream().delete_stream(name)
        await streams.declare(client, chosen=Settings(replicas=SIZE))

    with cluster(tmp_path) as made:
        key = made.on(on_one)
        made.on(spread)
        # What is not for long can only be made again: the server lets it not be changed.
        until(lambda: made.on(replicas) == [SIZE, SIZE, SIZE, SIZE, 1, 1, SIZE])
        made.on(make_again)
        until(lambda: made.on(replicas) == [SIZE] * 7)
        assert made.on(on_one) == key
