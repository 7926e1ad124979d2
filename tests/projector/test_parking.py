"""Commits that cannot be projected: parked, named, and passed by."""

import asyncio
import subprocess
import sys

import pytest

from schemas import envelope, subjects
from schemas import events as e
from schemas.upcasters import CURRENT, EventUnknown
from services import settings
from services.journal.parked import Parked
from services.projector.database import ParkedCommit
from services.projector.facts import Message
from tests.builders import added, completed, created, message, requested, said
from tests.projector.builders import Log, contents, opened, rows
from tests.projector.serving import (
    ROOT,
    ask,
    eventually,
    projecting,
    settings_for,
    until_health,
)
from tests.projector.test_follow import chatter, fresh


def altered(log: Log, index: int, *change: str) -> None:
    """A message of the log as another release has written it."""
    stored = log.messages[index]
    payload = stored.payload.decode().replace(*change).encode()
    assert payload != stored.payload
    log.messages[index] = Message(stored.sequence, stored.headers, payload)


@pytest.fixture
async def log(client):
    """The end of the first of two turns was written by a later release, the last by nobody."""
    written = Log()
    written.commit("c1", created(), added(message("m1")))
    written.commit("c1", requested("r1", message("m2")))
    written.commit("c1", completed("r1", said("s1")))
    written.commit("c2", created(), added(message("m3")))
    written.commit("c1", added(message("m4")))
    written.store(b"{}", {}, subject=subjects.conversation("default", "c3"))
    written.commit("c2", added(message("m5")))
    altered(written, 2, '"turn_completed"', '"turn_dreamt"')
    await written.publish(client.jetstream())
    return written


async def test_what_cannot_be_projected_is_parked_and_the_rest_goes_on(
    nats_server, client, log, tmp_path
):
    unknown = EventUnknown("turn_dreamt", CURRENT["turn_completed"])
    async with projecting(settings_for(nats_server, tmp_path)):
        health = await until_health(client, lambda health: health.sequence == 7)
        assert (health.ok, health.parked) == (True, 2)
        assert health.detail == "2 commits could not be projected: see the view parked"
        answer = await ask(client, "FROM parked ORDER BY sequence")
        assert answer.rows == (
            (3, "c1", "default", f"EventUnknown: {unknown}"),
            (6, "c3", "default", "ValidationError"),
        )
        lines = "SELECT conversation_id, position, item_id FROM items ORDER BY ALL"
        assert (await ask(client, lines)).rows == (
            ("c1", 0, "m1"),
            # Where it is indeed: what is missing between is known by its gap.
            ("c1", 3, "m4"),
            ("c2", 0, "m3"),
            ("c2", 1, "m5"),
        )
    assert [
        (each.stream, each.reason, each.subject, each.payload)
        async for each in Parked(client).all()
        if each.payload in {log.messages[2].payload, b"{}"}
    ][-2:] == [
        (subjects.CONVERSATIONS, "unreadable", "conversation.default.c1", log.messages[2].payload),
        (subjects.CONVERSATIONS, "unreadable", "conversation.default.c3", b"{}"),
    ]


async def test_a_parked_commit_is_never_put_into_the_log_again(nats_server, client, log, tmp_path):
    async with projecting(settings_for(nats_server, tmp_path)):
        await until_health(client, lambda health: health.sequence == len(log.messages))
    newest = [each async for each in Parked(client).all()][-1]
    command = ("-m", "services.cli", "parked", "replay", str(newest.sequence))
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *command, "--nats-url", nats_server.url],
        cwd=ROOT,
        env=settings.inherited(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is in the log already: `turnlog replay --live`" in ended.stdout
    info = await client.jetstream().stream_info(subjects.CONVERSATIONS)
    assert info.state.last_seq == len(log.messages)
    assert await Parked(client).get(newest.sequence) == newest


async def test_what_was_parked_stays_parked_when_it_starts_again(
    nats_server, client, log, tmp_path
):
    used = settings_for(nats_server, tmp_path)
    async with projecting(used):
        await until_health(client, lambda health: health.sequence == 7)
    log.commit("c2", added(message("m6")))
    await log.publish(client.jetstream(), start=7)
    async with projecting(used):
        health = await until_health(client, lambda health: health.sequence == 8)
        assert (health.ok, health.parked) == (True, 2)


async def test_views_are_built_again_once_what_was_parked_can_be_read(
    nats_server, client, tmp_path
):
    log = chatter(20)
    await log.publish(client.jetstream())
    used = settings_for(nats_server, tmp_path / "views")
    async with projecting(used):
        await until_health(client, lambda health: health.sequence == 20)
    # As a release has left them that did not know the events of two commits.
    database = opened(tmp_path / "views")
    for sequence in (12, 13):
        parked = (sequence, "c", "default", "EventUnknown")
        database._connection.execute("INSERT INTO parked VALUES (?, ?, ?, ?)", parked)
    database._connection.execute("DELETE FROM items WHERE sequence IN (12, 13)")
    database.close()

    async with projecting(used) as views:
        await eventually(lambda: views.current.parked == 0)
        health = await until_health(client, lambda health: health.ok)
        assert (health.parked, health.detail, health.sequence) == (0, "", 20)
    database = opened(tmp_path / "views")
    assert contents(database) == fresh(tmp_path / "fresh", log)
    database.close()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_events_after_one_that_was_passed_by_are_projected(open_database, size):
    log = Log()
    log.commit("c1", created(), added(message("m1")))
    log.commit("c1", e.ConversationUpdated(metadata={"a": "b"}))
    log.commit("c1", e.ConversationDeleted())
    assert envelope.decode(log.messages[1].payload)
    database = open_database()
    database.apply(log.messages[:1], log="a log")

    parked = ParkedCommit(sequence=2, project="default", conversation_id="c1", error="no")
    database.pass_by(parked, log="a log")
    for start in range(0, len(log.messages), size):
        database.apply(log.messages[start : start + size], log="a log")
    shown = "metadata, deleted_at IS NOT NULL, sequence"
    assert rows(database, f"SELECT {shown} FROM conversations") == [("{}", True, 3)]
    assert database.parked == [parked]
