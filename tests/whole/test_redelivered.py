"""What the queue forgets when it is killed, and what it delivers again, ends every turn once."""

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerInfo

from schemas import subjects
from services.conversation import commands
from services.conversation.budget import Policy
from services.journal import streams
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal
from tests.whole.asking import request
from tests.whole.running import (
    MODEL,
    PROJECT,
    Running,
    another_gateway,
    message,
    names,
    until,
)


async def forget_deliveries(client: Client) -> None:
    """As after a kill of the queue: it has the requests, but counts their deliveries anew."""
    await client.jetstream().delete_consumer(subjects.TURN_REQUESTS, subjects.RESPONDER)
    await streams.declare(client)


def begun(running: Running, text: str, conversation_id: str) -> str:
    """Id of a turn in the background whose model has been asked."""
    with running.client() as client:
        response = client.responses.create(
            model=MODEL, input=text, background=True, conversation=conversation_id
        )
    until(lambda: running.received_with(text))
    return str(response.id)


def created(running: Running) -> str:
    with running.client() as client:
        return str(client.conversations.create().id)


def ends(running: Running, conversation_id: str) -> list[str]:
    told = [name for each in running.commits(conversation_id) for name in names(each)]
    return [name for name in told if name in {"turn_completed", "turn_failed", "turn_cancelled"}]


def nothing(_running: Running, _conversation_id: str) -> None:
    """Leave the conversation as it is."""


def deleted(running: Running, conversation_id: str) -> None:
    with running.client() as client:
        client.conversations.delete(conversation_id)


@pytest.mark.parametrize("meanwhile", [nothing, deleted])
def test_a_turn_goes_on_if_the_queue_has_forgotten_its_delivery(
    wounded: Running, meanwhile: Callable[[Running, str], Any]
):
    with wounded.client() as client:
        conversation_id = client.conversations.create(items=[message("before")]).id
    text = f"[[hang once]] forgotten-{meanwhile.__name__}"
    begun(wounded, text, conversation_id)
    pid = wounded.kill("responder", signal.SIGSTOP)
    wounded.on_log(forget_deliveries)
    meanwhile(wounded, conversation_id)
    os.kill(pid, signal.SIGKILL)

    until(lambda: ends(wounded, conversation_id) == ["turn_completed"])
    until(lambda: wounded.turns_waiting() == 0)
    assert len(wounded.received_with(text)) == 2


def test_a_turn_delivered_again_to_who_works_on_it_is_worked_on_once(wounded: Running):
    with wounded.client() as client:
        conversation_id = client.conversations.create().id
        response_id = begun(wounded, "[[gate twice]] twice", conversation_id)
        pid = wounded.kill("responder", signal.SIGSTOP)
        overdue = time.monotonic() + streams.Retention().ack_wait_s + 1
        until(lambda: time.monotonic() > overdue)
        os.kill(pid, signal.SIGCONT)
        assert wounded.up is not None
        wounded.up.said("turn.left", response_id=response_id, reason="running")
        wounded.open_gate("twice")
        until(lambda: ends(wounded, conversation_id) == ["turn_completed"])
        until(lambda: wounded.turns_waiting() == 0)
        assert client.responses.retrieve(response_id).status == "completed"
    assert len(wounded.received_with("twice")) == 1
    assert wounded.events(conversation_id)[1:] == ["turn_requested", "turn_completed"]


@pytest.mark.parametrize("background", [False, True])
def test_a_stream_ends_whose_responder_died_between_the_end_and_the_first_word(
    wounded: Running, background: bool
):
    conversation_id = created(wounded)
    text = f"unsaid-{background} [[hang]]"

    async def end(client: Client) -> None:
        """What a responder does last."""
        conversations = Conversations(JetStreamJournal(client), actor="test", policy=Policy())
        (turn,) = (await conversations.load(PROJECT, conversation_id)).state.running
        failed = commands.FailTurn(
            response_id=turn.id, attempt=1, code="server_error", message="x", items=()
        )
        await conversations.grant(PROJECT, conversation_id, failed, command_id=turn.id)
        js = client.jetstream()
        await js.purge_stream(subjects.TURN_REQUESTS)

    def streamed(url: str) -> bytes:
        with wounded.http(url) as http:
            body = {
                "model": MODEL,
                "input": text,
                "stream": True,
                "background": background,
                "conversation": conversation_id,
            }
            return http.post("/v1/responses", json=body).content

    with another_gateway(wounded, keep_alive_s="1") as url, ThreadPoolExecutor() as pool:
        waiting = pool.submit(streamed, url)
        until(lambda: wounded.received_with(text))
        wounded.kill("responder")
        wounded.on_log(end)
        told = waiting.result(60)
    assert told.rstrip().split(b"\n\n")[-1].startswith(b"event: response.failed\n")
    assert ends(wounded, conversation_id) == ["turn_failed"]


def test_what_another_has_refused_is_not_run_by_who_was_stopped_meanwhile(wounded: Running):
    conversation_id = created(wounded)
    pid = wounded.pid("responder")
    asked = request("refused elsewhere", conversation_id=conversation_id, overlap="reject")

    async def consumer(client: Client) -> ConsumerInfo:
        return await client.jetstream().consumer_info(subjects.TURN_REQUESTS, subjects.RESPONDER)

    async def reach_the_stopped(client: Client) -> None:
        """Have the request delivered to a process that does not read it any more."""
        where, payload = subjects.turn_request(PROJECT, conversation_id), json.dumps(asked).encode()
        for attempt in range(20):
            while not (await consumer(client)).num_waiting:
                continue
            os.kill(pid, signal.SIGSTOP)
            await client.jetstream().publish(where, payload, headers={"Nats-Msg-Id": str(attempt)})
            while True:
                info = await consumer(client)
                if info.num_ack_pending:
                    return
                if info.num_pending and not info.num_waiting:
                    break
            # Its last request for messages had just expired.
            await client.jetstream().purge_stream(subjects.TURN_REQUESTS)
            os.kill(pid, signal.SIGCONT)
        raise AssertionError("never delivered")

    wounded.on_log(reach_the_stopped)
    try:
        other = wounded.beside("responder")
        other.said("responder.started")
        begun(wounded, "[[gate in-its-way]] in its way", conversation_id)
        refused = other.said("turn.refused", response_id=asked["response_id"])
        assert refused["http_status"] == 400
        wounded.open_gate("in-its-way")
        until(lambda: ends(wounded, conversation_id) == ["turn_completed"])
    finally:
        os.kill(pid, signal.SIGCONT)
    assert wounded.up is not None
    wounded.up.said("turn.done_elsewhere", response_id=asked["response_id"])
    assert wounded.received_with("refused elsewhere") == []
    assert other.end() == 0
