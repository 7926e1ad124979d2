"""One server, as `turnlog up` runs it: it hangs, it is killed, it forgets its consumers."""

import signal
import time
from pathlib import Path

import pytest

from schemas import subjects
from tests.cluster.audit import Findings, audit, summary, usable
from tests.cluster.load import Load
from tests.whole.running import MODEL, Running, until

HANGS_S = 7.0
"""Longer than a connection outlives a server that does not answer its pings."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None):
    running = Running(tmp_path_factory.mktemp("alone"), tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


def test_nothing_is_lost_while_the_server_hangs_and_is_killed(alone: Running):
    load = Load([alone.url], writers=6)
    load.start()
    _more(load)
    alone.kill("nats-server", signal.SIGSTOP)
    time.sleep(HANGS_S)
    alone.kill("nats-server", signal.SIGCONT)
    _more(load)
    for _ in range(2):
        alone.kill("nats-server")
        _more(load)
    load.stop()
    diaries = [diary for own in load.diaries for diary in own]
    findings = audit(alone, diaries)
    usable(alone, diaries)
    told = summary(load, findings)
    assert findings == Findings(), told
    assert not load.stale, told
    assert not told["turns_not_completed"], told


def test_the_queue_is_served_again_after_its_consumer_was_deleted(alone: Running):
    _delete(alone, subjects.TURN_REQUESTS, subjects.RESPONDER)
    with alone.client() as client:
        answer = client.responses.create(model=MODEL, input="Are you there?")
    assert answer.status == "completed"
    until(lambda: alone.health()[0] == 200)


def test_windows_are_compacted_again_after_the_compactors_consumer_was_deleted(tmp_path: Path):
    running = Running(tmp_path, tokens_budget="50")
    try:
        running.start()
        _delete(running, subjects.CONVERSATIONS, subjects.COMPACTOR)
        with running.client() as client:
            conversation = client.conversations.create()
            for _ in range(3):
                client.responses.create(
                    model=MODEL, input="[[words 60]]", conversation=conversation.id
                )
        until(lambda: "conversation_compacted" in running.events(conversation.id))
    finally:
        running.end()


def _more(load: Load) -> None:
    """Wait until work goes on."""
    wanted = load.acks() + 50
    until(lambda: load.acks() > wanted, wait_s=60)


def _delete(running: Running, stream: str, consumer: str) -> None:
    async def delete(client) -> None:
        assert await client.jetstream().delete_consumer(stream, consumer)

    running.on_log(delete)
