"""What the queue forgets when it is killed, and what it delivers again, ends every turn once."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from nats.aio.client import Client

from schemas import subjects
from services.journal import streams
from tests.whole.running import MODEL, Running, message, names, until

SLOW = "[[delay 3]]"


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
    text = f"forgotten-{meanwhile.__name__} {SLOW}"
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
        response_id = begun(wounded, "[[delay 15]] twice", conversation_id)
        pid = wounded.kill("responder", signal.SIGSTOP)
        overdue = time.monotonic() + streams.Retention().ack_wait_s + 1
        until(lambda: time.monotonic() > overdue)
        os.kill(pid, signal.SIGCONT)
        assert wounded.up is not None
        wounded.up.said("turn.still_running", response_id=response_id)
        until(lambda: ends(wounded, conversation_id) == ["turn_completed"])
        until(lambda: wounded.turns_waiting() == 0)
        assert client.responses.retrieve(response_id).status == "completed"
    assert len(wounded.received_with("twice")) == 1
    assert wounded.events(conversation_id)[1:] == ["turn_requested", "turn_completed"]
