import asyncio
import itertools
import json
import time

import nats
import nats.js.errors
import pytest

from schemas import subjects
from schemas.http.errors import TooLarge
from services.journal import JournalUnavailable, streams
from services.journal.jetstream import JetStreamJournal
from services.journal.publishing import MESSAGE_ID, NOT_STORED
from services.settings import Settings
from tests.journal.contract import (
    PROJECT,
    ConversationsContract,
    JournalContract,
    stored_by,
)

_numbers = itertools.count()


@pytest.fixture
def journal(jetstream_journal):
    return jetstream_journal


@pytest.fixture
def open_journal(connect):
    async def another():
        return JetStreamJournal(await connect(), wait_s=2)

    return another


@pytest.fixture
def conversation_id():
    """Unique in the session, since all its tests share a server and its duplicate window."""
    return f"conv_{next(_numbers):08x}"


class TestJetStreamJournal(JournalContract):
    async def test_commits_the_server_cannot_send_in_one_batch_are_read_whole(
        self, journal, conversation_id
    ):
        # 80 MiB: more than the server's own limit for one batch, in messages it may split freely.
        expected = await self.write(journal, conversation_id, size=1024 * 1024, number=80)
        commits = await stored_by(journal, conversation_id)
        assert [(one.sequence, len(one.payload)) for one in commits] == expected

    async def test_a_busy_process_that_reads_large_commits_keeps_its_connection(
        self, journal, client, conversation_id
    ):
        # 84 MiB in 12 messages: more than a server holds back for one connection, max_pending.
        expected = await self.write(journal, conversation_id, size=7 * 1024 * 1024, number=12)
        lost = asyncio.Event()
        client._disconnected_cb = lambda: asyncio.sleep(0, lost.set())

        async def busy():
            for _ in range(4):
                await asyncio.sleep(0)
            time.sleep(1)  # noqa: ASYNC251 - nothing is waited for: this process is busy

        commits, _ = await asyncio.gather(stored_by(journal, conversation_id), busy())
        assert [(one.sequence, len(one.payload)) for one in commits] == expected
        assert not lost.is_set()

    async def write(self, journal, conversation_id, *, size, number):
        sequence, written = 0, []
        for index in range(number):
            sequence = await journal.append(
                PROJECT,
                conversation_id,
                b"%d" % (index % 10) * size,
                message_id=f"{conversation_id}.{index}",
                expected=sequence,
                headers={},
            )
            written.append((sequence, size))
        return written

    async def test_a_commit_no_message_can_hold_is_not_stored(self, journal, conversation_id):
        with pytest.raises(TooLarge):
            await journal.append(
                PROJECT,
                conversation_id,
                b"x" * (8 * 1024 * 1024 + 1),
                message_id=f"{conversation_id}.large",
                expected=0,
                headers={},
            )
        assert await journal.last(PROJECT, conversation_id) is None

    async def test_an_append_the_server_stored_while_its_answer_was_lost_is_the_same_commit(
        self, journal, client, conversation_id
    ):
        await client.jetstream().publish(
            subjects.conversation(PROJECT, conversation_id),
            b"one",
            headers={
                "Nats-Msg-Id": f"{conversation_id}.one",
                "Nats-Expected-Last-Subject-Sequence": "0",
            },
        )
        sequence = await self.append(journal, conversation_id, "one", expected=0)
        assert [one.sequence for one in await stored_by(journal, conversation_id)] == [sequence]

    async def test_a_journal_whose_stream_is_missing_says_it_is_unavailable(
        self, empty_server_url, conversation_id
    ):
        async with await nats.connect(empty_server_url) as client:
            missing = JetStreamJournal(client, wait_s=0.1)
            with pytest.raises(JournalUnavailable):
                await self.append(missing, conversation_id, "one", expected=0)
            with pytest.raises(JournalUnavailable):
                await missing.last(PROJECT, conversation_id)
            with pytest.raises(JournalUnavailable):
                await missing.read(PROJECT, conversation_id, after=0)


class TestConversations(ConversationsContract):
    async def headers_of(self, journal, _conversation_id, stored):
        message = await journal._client.jetstream().get_msg(
            subjects.CONVERSATIONS, seq=stored.sequence
        )
        return message.headers


# Streams and keys


async def configurations(client):
    """Every stream and consumer as the server has it, without what is counted."""
    js = client.jetstream()
    found = {info.config.name: info.config for info in await js.streams_info()}
    for name in list(found):
        for consumer in await js.consumers_info(name):
            found[f"{name}.{consumer.name}"] = consumer.config
    return found


async def test_declaring_twice_changes_nothing(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        await streams.declare(client)
        declared = await configurations(client)
        await streams.declare(client)
        assert await configurations(client) == declared
        assert set(declared) >= {
            "CONVERSATIONS",
            "TURN_REQUESTS",
            "DELTAS",
            "PARKED",
            "KV_turnlog_keys",
            "TURN_REQUESTS.responder",
        }


async def test_the_log_is_on_disk_kept_for_ever_and_read_directly(client):
    info = await client.jetstream().stream_info(subjects.CONVERSATIONS)
    config = info.config
    assert (
        config.storage,
        config.retention,
        config.allow_direct,
        config.max_age,
        config.max_msgs,
        config.max_bytes,
        config.subjects,
        config.duplicate_window,
    ) == ("file", "limits", True, 0, -1, -1, ["conversation.>"], 120)


async def test_what_an_operator_changed_stays_changed(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        js = client.jetstream()
        await streams.declare(client)
        for name, change in (
            (subjects.DELTAS, {"max_bytes": 12_345_678, "max_age": 7_777}),
            (subjects.CONVERSATIONS, {"description": "ours", "duplicate_window": 300}),
            (subjects.TURN_REQUESTS, {"max_msgs": 7}),
        ):
            info = await js.stream_info(name)
            await js.update_stream(info.config.evolve(**change))
        consumer = await js.consumer_info(subjects.TURN_REQUESTS, subjects.RESPONDER)
        await js.add_consumer(subjects.TURN_REQUESTS, consumer.config.evolve(ack_wait=33))
        changed = await configurations(client)
        await streams.declare(client)
        assert await configurations(client) == changed
        assert changed["DELTAS"].max_bytes == 12_345_678
        assert changed["TURN_REQUESTS.responder"].ack_wait == 33


async def test_how_long_deltas_are_kept_can_be_set_at_any_time(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        for given, kept in ((0, 24 * 3600), (30, 30), (7 * 24 * 3600, 7 * 24 * 3600)):
            await streams.declare(client, chosen=Settings(deltas_age_s=given))
            assert (await configurations(client))["DELTAS"].max_age == kept
        await streams.declare(client)
        changed = await configurations(client)
        assert changed["DELTAS"].max_age == 7 * 24 * 3600
        assert changed["CONVERSATIONS"].max_age == 0


async def test_how_many_turns_may_wait_can_be_set_and_nothing_accepted_is_lost_by_it(
    empty_server_url,
):
    async def limits(client):
        found = (await configurations(client))[subjects.TURN_REQUESTS]
        return found.max_msgs, found.max_msgs_per_subject, found.discard_new_per_subject

    async def ask(client, number):
        sent = await client.request(
            subjects.turn_request(PROJECT, "conv_1"), b"", headers={MESSAGE_ID: f"{number}"}
        )
        return json.loads(sent.data).get("error", {}).get("err_code")

    async with await nats.connect(empty_server_url) as client:
        await streams.declare(client)
        assert await limits(client) == (10_000, 1_000, True)
        fewer = Settings(turns_waiting_max=6, conversation_turns_waiting_max=4)
        await streams.declare(client, chosen=fewer)
        assert await limits(client) == (6, 4, True)
        assert [await ask(client, n) for n in range(5)] == [None] * 4 + [NOT_STORED]
        # The server would make room for a lower limit by itself.
        lower = Settings(turns_waiting_max=3, conversation_turns_waiting_max=2)
        await streams.declare(client, chosen=lower)
        assert await limits(client) == (3, 4, True)
        info = await client.jetstream().stream_info(subjects.TURN_REQUESTS)
        assert info.state.messages == 4
        await streams.declare(client, chosen=Settings(conversation_turns_waiting_max=8))
        await streams.declare(client)
        assert await limits(client) == (3, 8, True)
        # What is stored already is known again, however full it is.
        assert await ask(client, 3) is None


async def test_processes_that_declare_at_once_agree(empty_server_url):
    clients = [await nats.connect(empty_server_url) for _ in range(6)]
    try:
        await asyncio.gather(*(streams.declare(client) for client in clients))
        assert "CONVERSATIONS" in await configurations(clients[0])
    finally:
        for client in clients:
            await client.close()
