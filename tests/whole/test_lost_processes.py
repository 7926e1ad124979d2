"""One process is killed while turns run; the others, and the client, go on."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.whole.running import (
    MODEL,
    WAIT_S,
    Running,
    another_gateway,
    folded,
    listed,
    texts,
    until,
)
from tests.whole.test_streaming import events_of


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def asked(running: Running, **fields: Any) -> httpx2.Response:
    with running.http() as http:
        return http.post("/v1/responses", json={"model": MODEL, **fields})


def usable(running: Running, conversation_id: str) -> bool:
    answer = asked(running, input="[[say usable]]", conversation=conversation_id)
    return answer.status_code == 200 and answer.json()["status"] == "completed"


def created(running: Running) -> str:
    with running.client() as client:
        return client.conversations.create().id


def test_a_killed_responders_turns_end_once_and_are_told(
    wounded: Running, pool: ThreadPoolExecutor
):
    plain, streamed, silent = created(wounded), created(wounded), created(wounded)
    waiting = pool.submit(asked, wounded, input="[[hang once]] plain-k", conversation=plain)
    heard: list[bytes] = []

    def hear() -> None:
        body = {"model": MODEL, "input": "[[hang 3]] streamed-k", "conversation": streamed}
        with (
            wounded.http() as http,
            http.stream("POST", "/v1/responses", json=body | {"stream": True}) as answer,
        ):
            heard.extend(answer.iter_bytes())

    telling = pool.submit(hear)
    # Nothing of this one has reached its client, so that it may be answered by another attempt.
    quiet = pool.submit(
        asked, wounded, input="[[error 503]] silent-k", conversation=silent, stream=True
    )
    until(lambda: len(wounded.received_with("plain-k")) == 1)
    until(lambda: wounded.received_with("silent-k"))
    until(lambda: b"event: response.output_text.delta\n" in b"".join(heard))
    wounded.kill("responder")

    answer, third = waiting.result(60), quiet.result(60)
    telling.result(60)
    stream = b"".join(heard)
    assert answer.status_code == 200
    assert answer.json()["output"][0]["status"] == "completed"
    with wounded.http() as http:
        assert texts(listed(http, plain))[0] == "[[hang once]] plain-k"
        assert len(listed(http, plain)) == 2
        assert listed(http, streamed) == []
    assert wounded.events(plain)[1:] == ["turn_requested", "turn_started", "turn_completed"]
    assert wounded.events(streamed)[1:] == ["turn_requested", "turn_failed"]
    assert len(wounded.received_with("plain-k")) == 2
    assert len(wounded.received_with("streamed-k")) == 1
    assert b"event: response.failed\n" in stream
    assert b"event: response.failed\n" in third.content
    assert wounded.events(silent).count("turn_failed") == 1
    for conversation_id in (plain, streamed, silent):
        folded(wounded.commits(conversation_id))
        assert usable(wounded, conversation_id)
    # Checked last: what comes before must hold whatever the numbers are.
    events = events_of(stream)
    assert events[-1]["response"]["error"]["code"] == "server_error"


def test_a_responder_that_is_told_to_stop_finishes_what_it_has(
    wounded: Running, pool: ThreadPoolExecutor
):
    conversation_id = created(wounded)
    with wounded.halted():
        stopping = wounded.beside("responder", stop_wait_s="40")
        stopping.said("responder.started")
        waiting = pool.submit(
            asked, wounded, input="[[gate drained]] drained-k", conversation=conversation_id
        )
        until(lambda: wounded.received_with("drained-k"))
    stopping.process.terminate()
    stopping.said("responder.stopping")
    wounded.open_gate("drained")

    assert waiting.result(60).json()["status"] == "completed"
    assert stopping.process.wait(WAIT_S) == 0
    assert wounded.events(conversation_id)[1:] == ["turn_requested", "turn_completed"]
    assert len(wounded.received_with("drained-k")) == 1
    assert usable(wounded, conversation_id)


def test_a_killed_gateways_turn_is_in_the_log(wounded: Running, pool: ThreadPoolExecutor):
    plain, streamed = created(wounded), created(wounded)
    waiting = [
        pool.submit(asked, wounded, input="[[gate gateway-k]] gateway-k", conversation=plain),
        pool.submit(
            asked,
            wounded,
            input="[[gate gateway-k 3]] gateway-k",
            conversation=streamed,
            stream=True,
        ),
    ]
    until(lambda: len(wounded.received_with('gateway-k"')) == 2)
    wounded.kill("gateway")

    for each in waiting:
        with pytest.raises(httpx2.TransportError):
            each.result(60)
    wounded.open_gate("gateway-k")
    for conversation_id in (plain, streamed):
        until(lambda c=conversation_id: "turn_completed" in wounded.events(c))
    until(wounded.healthy)
    for conversation_id in (plain, streamed):
        assert usable(wounded, conversation_id)
        with wounded.http() as http:
            assert len(listed(http, conversation_id)) == 4


def test_a_killed_log_is_started_again_and_running_turns_are_told(
    wounded: Running, pool: ThreadPoolExecutor
):
    plain, streamed = created(wounded), created(wounded)
    waiting = [
        pool.submit(asked, wounded, input="[[gate log-k]] log-k", conversation=plain),
        pool.submit(
            asked, wounded, input="[[gate log-k 3]] log-k", conversation=streamed, stream=True
        ),
    ]
    until(lambda: len(wounded.received_with('log-k"')) == 2)
    before = wounded.last_sequences()
    wounded.kill("nats-server")
    wounded.open_gate("log-k")

    plain_answer, streamed_answer = (each.result(60) for each in waiting)
    assert plain_answer.json()["status"] == "completed"
    assert streamed_answer.content.rstrip().split(b"\n\n")[-1].startswith(b"event: response.")
    assert wounded.last_sequences()["CONVERSATIONS"] >= before["CONVERSATIONS"]
    until(wounded.healthy)
    for conversation_id in (plain, streamed):
        assert usable(wounded, conversation_id)
    last = wounded.last_sequence()
    assert wounded.sql("SELECT max(sequence) FROM conversations") == [(last,)]


def test_killed_views_are_at_the_end_of_the_log_again(wounded: Running):
    pid = wounded.kill("projector")
    with wounded.client() as client:
        made = [client.conversations.create(metadata={"n": str(n)}).id for n in range(50)]

    until(wounded.healthy)
    found = wounded.sql("SELECT conversation_id FROM conversations WHERE metadata ->> 'n' != ''")
    assert sorted(row[0] for row in found) == sorted(made)
    assert wounded.pid("projector") != pid


def test_a_halted_service_makes_the_whole_unhealthy_by_name(wounded: Running):
    until(wounded.healthy)
    for name in ("responder", "projector", "compactor"):
        pid = wounded.kill(name, signal.SIGSTOP)
        try:
            # The others are asked for no longer than a second each.
            until(lambda: _unhealthy(wounded) == {name})  # noqa: B023 - called at once
        finally:
            os.kill(pid, signal.SIGCONT)
        until(wounded.healthy)


def _unhealthy(running: Running) -> set[str]:
    """Names of the services that ``/healthz`` says cannot serve."""
    status, told = running.health()
    assert (status, told["ok"]) in {(200, True), (503, False)}
    return {name for name, health in told["services"].items() if not health["ok"]}


def test_a_turn_of_which_nothing_is_kept_is_told_to_be_lost(
    wounded: Running, pool: ThreadPoolExecutor
):
    def ask(url: str, text: str) -> httpx2.Response:
        with wounded.http(url) as http:
            return http.post("/v1/responses", json={"model": MODEL, "input": text, "store": False})

    with another_gateway(wounded, keep_alive_s="0.5") as url:
        # A turn that is silent for long is not a lost one.
        patient = ask(url, "[[delay 3]] patient-u")
        assert (patient.status_code, patient.json()["status"]) == (200, "completed")
        waiting = pool.submit(ask, url, "[[hang]] lost-u")
        until(lambda: wounded.received_with("lost-u"))
        wounded.kill("responder")
        lost = waiting.result(60)
        assert (lost.status_code, lost.headers["retry-after"]) == (503, "1")
        assert lost.json()["error"] == {
            "message": "The turn was lost with the process that ran it. Please retry.",
            "type": "server_error",
            "param": None,
            "code": None,
        }
