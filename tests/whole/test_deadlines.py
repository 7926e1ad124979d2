"""A turn nobody waits for any more is not begun; one that has begun is finished."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from schemas import deltas, subjects
from schemas.http.stream_events import response_in
from services import clock
from tests.whole.asking import kind, request, told
from tests.whole.running import MODEL, PROJECT, Running, another_gateway, until

WAIT_S = 1.0
BEGIN_S = 8.0
"""Seconds in which a turn begins on any machine, fewer than until it is delivered again."""
OVERLAP = {"Turnlog-Overlap": "queue"}


def turn(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": text, **fields}


def busy(running: Running, gate: str, text: str) -> str:
    """A conversation whose model answers once its gate is opened."""
    with running.client() as client:
        conversation = client.conversations.create().id
        client.responses.create(
            **turn(f"[[gate {gate}]] {text}", conversation=conversation, background=True)
        )
    until(lambda: running.received_with(text))
    return str(conversation)


def idle(running: Running, conversation_id: str) -> None:
    """Wait until nothing runs or waits."""
    until(lambda: running.turns_waiting() == 0)
    with running.client() as client:
        later = client.responses.create(**turn("later on", conversation=conversation_id))
    assert later.status == "completed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_that_waited_for_too_long_is_never_run(wounded: Running, *, stream: bool):
    slow, late = f"in front {stream}", f"too late {stream}"
    with another_gateway(wounded, answer_wait_s=str(WAIT_S)) as url, wounded.http(url) as http:
        conversation = busy(wounded, f"front-{stream}", slow)
        body = turn(late, conversation=conversation, stream=stream)
        answer = http.post("/v1/responses", json=body, headers=OVERLAP)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    wounded.open_gate(f"front-{stream}")
    idle(wounded, conversation)
    assert wounded.received_with(late) == []
    assert wounded.events(conversation).count("turn_requested") == 2
    assert wounded.events(conversation).count("turn_completed") == 2


def test_a_turn_nobody_could_take_in_time_is_never_run(wounded: Running):
    with wounded.client() as client:
        conversation = client.conversations.create().id
    with another_gateway(wounded, answer_wait_s=str(WAIT_S)) as url, wounded.http(url) as http:
        pid = wounded.kill("responder", signal.SIGSTOP)
        answer = http.post("/v1/responses", json=turn("untaken", conversation=conversation))
        os.kill(pid, signal.SIGCONT)
    assert answer.status_code == 503
    idle(wounded, conversation)
    assert wounded.received_with("untaken") == []
    assert wounded.events(conversation) == [
        *("conversation_created", "turn_requested", "turn_completed")
    ]


def test_a_turn_that_has_begun_is_finished(wounded: Running):
    """Also by a responder that takes it over when nobody waits for it any more."""
    with wounded.client() as client:
        conversation = client.conversations.create().id
    with (
        another_gateway(wounded, answer_wait_s=str(BEGIN_S)) as url,
        wounded.http(url) as http,
        ThreadPoolExecutor(1) as pool,
    ):
        body = turn("[[hang once]] begun in time", conversation=conversation)
        answer = pool.submit(http.post, "/v1/responses", json=body)
        until(lambda: wounded.received_with("begun in time"))
        wounded.kill("responder")
        assert answer.result().status_code == 503
    until(lambda: wounded.events(conversation)[-1:] == ["turn_completed"], wait_s=60)
    assert len(wounded.received_with("begun in time")) == 2
    idle(wounded, conversation)


def test_a_turn_in_the_background_waits_as_long_as_it_takes(wounded: Running):
    with another_gateway(wounded, answer_wait_s=str(WAIT_S)) as url, wounded.http(url) as http:
        conversation = busy(wounded, "background", "in front of one in the background")
        body = turn("patient one", conversation=conversation, background=True)
        queued = http.post("/v1/responses", json=body, headers=OVERLAP)
        late = time.monotonic() + 2 * WAIT_S
        until(lambda: time.monotonic() > late)
        wounded.open_gate("background")
    assert (queued.status_code, queued.json()["status"]) == (200, "queued")
    until(lambda: wounded.turns_waiting() == 0)
    assert len(wounded.received_with("patient one")) == 1
    assert wounded.events(conversation).count("turn_completed") == 2


def test_the_same_key_is_asked_anew_after_a_turn_that_came_too_late(wounded: Running):
    headers = {**OVERLAP, "Idempotency-Key": "came-too-late"}
    with another_gateway(wounded, answer_wait_s=str(WAIT_S)) as url, wounded.http(url) as http:
        conversation = busy(wounded, "key", "in front of a key")
        body = turn("late with a key", conversation=conversation)
        assert http.post("/v1/responses", json=body, headers=headers).status_code == 503
        wounded.open_gate("key")
        until(lambda: wounded.turns_waiting() == 0)

        def answered() -> httpx2.Response | None:
            answer = http.post("/v1/responses", json=body, headers=headers)
            return answer if answer.status_code == 200 else None

        assert until(answered).content == until(answered).content
    assert len(wounded.received_with("late with a key")) == 1


def asked(text: str, *, seconds: float, **fields: Any) -> dict[str, Any]:
    """A turn request that may be admitted for so long."""
    expires_at = (clock.now() + timedelta(seconds=seconds)).isoformat()
    return request(text, expires_at=expires_at, **fields)


def test_a_backend_can_say_how_long_it_waits(shared: Running):
    in_time = asked("in time", seconds=60)
    late = asked("past its time", seconds=-0.001)
    ended, refused = told(shared, in_time, late)
    assert (kind(ended), kind(refused)) == (deltas.END, deltas.REFUSAL)
    headers = refused.headers or {}
    assert headers[deltas.STATUS_HEADER] == "503"
    assert headers[deltas.RETRY_AFTER_HEADER] == "1"
    error = json.loads(refused.data)["error"]
    assert (error["type"], "model was not called" in error["message"]) == ("server_error", True)
    assert shared.received_with("past its time") == []
    assert shared.events(late["conversation_id"]) == []
    until(lambda: shared.turns_waiting() == 0)


def test_a_time_that_may_be_any_of_many_is_refused(shared: Running):
    naive = clock.now().replace(tzinfo=None) + timedelta(days=1)
    (refused,) = told(shared, request("at what time", expires_at=naive.isoformat()))
    assert (refused.headers or {})[deltas.STATUS_HEADER] == "400"
    assert json.loads(refused.data)["error"]["param"] == "expires_at"
    assert shared.received_with("at what time") == []


def test_a_turn_that_ended_is_told_again_whatever_its_time(shared: Running):
    once = asked("told again", seconds=60)
    (ended,) = told(shared, once)
    once["expires_at"] = (clock.now() - timedelta(seconds=1)).isoformat()

    async def again(client: Any) -> Any:
        subject = subjects.delta(PROJECT, once["response_id"])
        subscription = await client.subscribe(subject)
        # Without a message id, as after the queue's own window for repeats.
        await client.jetstream().publish(
            subjects.turn_request(PROJECT, once["conversation_id"]), json.dumps(once).encode()
        )
        return await subscription.next_msg(timeout=30)

    told_again = shared.on_log(again)
    assert kind(told_again) == deltas.END
    assert response_in(told_again.data) == response_in(ended.data)
    assert len(shared.received_with("told again")) == 1


def test_a_turn_that_waits_is_refused_when_its_time_is_over(shared: Running):
    """While the turn in front still runs."""
    with shared.client() as client:
        conversation = client.conversations.create().id
        front = client.responses.create(
            **turn("[[hang 1]] hanging in front", conversation=conversation, background=True)
        )
        (refused,) = told(
            shared, asked("behind a hanging one", seconds=1, conversation_id=conversation)
        )
        assert kind(refused) == deltas.REFUSAL
        assert client.responses.cancel(front.id).status == "cancelled"
    assert shared.received_with("behind a hanging one") == []
    idle(shared, conversation)


def test_a_turn_of_which_nothing_is_kept_can_be_too_late_as_well(shared: Running):
    late = asked("late and kept nowhere", seconds=-0.001)
    late["body"]["store"] = False

    async def ask(client: Any) -> Any:
        subject = subjects.delta_unstored(PROJECT, late["response_id"])
        subscription = await client.subscribe(subject)
        await client.publish(
            subjects.turn_request_unstored(PROJECT), json.dumps(late).encode(), reply=subject
        )
        return await subscription.next_msg(timeout=30)

    assert kind(shared.on_log(ask)) == deltas.REFUSAL
    assert shared.received_with("late and kept nowhere") == []
