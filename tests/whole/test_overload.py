"""Too much at once is refused with 429 before anything is stored, and told when to come again."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx2
import msgspec
import pytest
from nats.aio.client import Client
from openai import OpenAI, RateLimitError

from schemas import claims, deltas
from schemas.claims import Claim
from services import ids
from services.journal.claims import Claims
from tests.whole.asking import kind, request, told
from tests.whole.running import (
    MODEL,
    PROJECT,
    Child,
    Running,
    another_gateway,
    begin_gateway,
    together,
    until,
)
from tests.whole.slow import Raw, memory, raw, warmed
from tests.whole.wire import wired

MIB = 1024 * 1024
LARGE = 24
HELD_MAX = 16 * MIB


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """An instance in which few turns may wait, and few may run."""
    running = Running(
        tmp_path_factory.mktemp("narrow"),
        tokens_budget="0",
        turns_waiting_max="6",
        conversation_turns_waiting_max="4",
        turns_running_max="2",
    )
    try:
        yield running.start()
    finally:
        running.end()


def refused(answer: httpx2.Response, message: str) -> None:
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json() == {
        "error": {
            "message": message,
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }


def test_a_full_queue_refuses_what_comes_over_http(narrow: Running):
    def ask(conversation: str) -> httpx2.Response:
        with narrow.http() as http:
            return http.post(
                "/v1/responses",
                json={"model": MODEL, "input": "[[say queued]]", "conversation": conversation},
                headers={"Turnlog-Overlap": "queue"},
            )

    with narrow.client() as client, ThreadPoolExecutor(8) as pool:
        conversations = [client.conversations.create().id for _ in range(4)]
        narrow.kill("responder", signal.SIGSTOP)
        try:
            waiting = []
            for place, conversation in enumerate([*[conversations[0]] * 4, *conversations[1:3]]):
                waiting.append(pool.submit(ask, conversation))
                until(lambda n=place + 1: narrow.turns_waiting() == n)
                if place == 3:
                    # There is room, but not for more of this conversation.
                    refused(ask(conversation), "Too many turns are waiting. Please retry.")
            refused(ask(conversations[3]), "Too many turns are waiting. Please retry.")
            last = narrow.last_sequences()["TURN_REQUESTS"]
            before = _refusals(narrow)
            # The SDK comes again by itself, until there is room.
            patient = OpenAI(base_url=f"{narrow.url}/v1", api_key="any", max_retries=10)
            later = pool.submit(
                patient.responses.create,
                model=MODEL,
                input="[[say patient]]",
                conversation=conversations[3],
            )
            until(lambda: _refusals(narrow) > before)
            assert narrow.last_sequences()["TURN_REQUESTS"] == last
        finally:
            narrow.kill("responder", signal.SIGCONT)
        assert [each.result(60).status_code for each in waiting] == [200] * 6
        assert later.result(60).output_text == "patient"
        patient.close()

    ended = [narrow.events(each).count("turn_completed") for each in conversations]
    assert ended == [4, 1, 1, 1]


def _refusals(running: Running) -> int:
    """How many turns its gateway has refused so far."""
    assert running.up is not None
    return len(running.up.lines("request.answered", path="/v1/responses", status=429))


def test_repeats_of_what_was_never_asked_do_not_wait_for_the_room_they_take(narrow: Running):
    with narrow.client() as client:
        conversation = client.conversations.create().id
    keys = [f"never-asked-{number}" for number in range(4)]
    repeats = [
        request(f"[[say {key}]]", conversation_id=conversation, request_id=key) for key in keys
    ]

    async def claim(client: Client) -> None:
        for key, each in zip(keys, repeats, strict=True):
            fingerprint = claims.fingerprint_of_turn(msgspec.json.encode(each["body"]))
            first = Claim(
                id=ids.response_id(conversation),
                conversation_id=conversation,
                fingerprint=fingerprint,
            )
            await Claims(client).claim(PROJECT, key, first)

    narrow.on_log(claim)
    with ThreadPoolExecutor(1) as pool:
        narrow.kill("responder", signal.SIGSTOP)
        try:
            answers = pool.submit(told, narrow, *repeats)
            until(lambda: narrow.turns_waiting() == len(repeats))
        finally:
            narrow.kill("responder", signal.SIGCONT)
        kinds = [kind(each) for each in answers.result(60)]
    assert deltas.REFUSAL in kinds
    assert set(kinds) <= {deltas.REFUSAL, deltas.REPEAT}
    for each in answers.result():
        if kind(each) == deltas.REFUSAL:
            assert (each.headers or {})[deltas.STATUS_HEADER] == "429"
    until(lambda: narrow.turns_waiting() == 0)


def test_a_responder_refuses_what_it_would_have_to_keep_in_memory(narrow: Running):
    def ask(number: int) -> httpx2.Response:
        body = {"model": MODEL, "input": f"[[gate unstored]] {number}", "store": False}
        with narrow.http() as http:
            return http.post("/v1/responses", json=body)

    with ThreadPoolExecutor(40) as pool:
        answers = [pool.submit(ask, number) for number in range(40)]
        until(lambda: sum(answer.done() for answer in answers) == 38)
        for answer in answers:
            if answer.done():
                refused(answer.result(), "Too many turns are running. Please retry.")
        narrow.open_gate("unstored")
    assert sum(answer.result().status_code == 200 for answer in answers) == 2


def test_a_gateway_has_only_so_many_turns_in_flight(shared: Running):
    with another_gateway(shared, turns_in_flight_max="2") as url:
        with ExitStack() as opened:
            http = opened.enter_context(shared.http(url))
            body = {"model": MODEL, "input": "[[gate in-flight 3]] [[words 40]]", "stream": True}
            streams = [
                opened.enter_context(http.stream("POST", "/v1/responses", json=body))
                for _ in range(2)
            ]
            for stream in streams:
                assert next(stream.iter_lines()) == "event: response.created"
            before = shared.last_sequences()
            for more in ({}, {"stream": True}, {"background": True}, {"store": False}):
                answer = http.post("/v1/responses", json={"model": MODEL, "input": "x", **more})
                refused(answer, "2 turns are being answered. Please retry when some have ended.")
            with wired(url) as wire:
                wire.ask("x", stream_id="a")
                frame = wire.refusal()
                assert (frame["status"], frame["stream_id"]) == (429, "a")
                assert frame["error"]["code"] == "rate_limit_exceeded"
                assert frame["error"]["headers"] == {"retry-after": "1"}
            after = shared.last_sequences()
            assert after["TURN_REQUESTS"] == before["TURN_REQUESTS"]
            with shared.client(url) as client, pytest.raises(RateLimitError):
                client.responses.create(model=MODEL, input="x")
            # Others go on meanwhile.
            with shared.client() as client:
                assert client.responses.create(model=MODEL, input="x").status == "completed"
        shared.open_gate("in-flight")
        with shared.client(url) as client:
            until(lambda: _accepted(client))


def _accepted(client: OpenAI) -> bool:
    try:
        return client.responses.create(model=MODEL, input="x").status == "completed"
    except RateLimitError:
        return False


SIZE = 4 * MIB
BODY = {"model": MODEL, "input": "x", "metadata": {}}


def announced(url: str, opened: ExitStack) -> list[Raw]:
    """Three clients who announce bodies of `SIZE` and send the beginning."""
    slow = [opened.enter_context(raw(url)) for _ in range(3)]
    for one in slow:
        one.post("/v1/responses", b'{"model":"' + b"x" * MIB, announced=SIZE)
    return slow


def test_bodies_are_held_up_to_a_limit(shared: Running):
    with another_gateway(shared, bodies_bytes_max=str(3 * SIZE)) as url, shared.http(url) as http:
        with ExitStack() as opened:
            announced(url, opened)
            answers: list[httpx2.Response] = []

            def is_full() -> bool:
                answers.append(http.post("/v1/conversations", content=b"{}"))
                return answers[-1].status_code == 429

            until(is_full)
            refused(answers[-1], "Too many requests are being read at once. Please retry.")
            refused(
                http.post("/v1/responses", json=BODY),
                "Too many requests are being read at once. Please retry.",
            )
            with wired(url) as wire:
                wire.ask("x")
                assert wire.refusal()["status"] == 429
            # What needs no body is answered.
            assert http.get("/v1/models").status_code == 200
        until(lambda: http.post("/v1/responses", json=BODY).status_code == 200)


def test_slow_bodies_are_held_for_a_while(shared: Running):
    limits = {"bodies_bytes_max": str(3 * SIZE), "client_wait_s": "1"}
    with another_gateway(shared, **limits) as url, ExitStack() as opened:
        for one in announced(url, opened):
            status, _, told = one.answer()
            assert (status, json.loads(told)["error"]["code"]) == (408, "request_timeout")
        with shared.http(url) as http:
            assert http.post("/v1/responses", json=BODY).status_code == 200


@pytest.fixture
def gateway(shared: Running) -> Iterator[tuple[str, Child]]:
    url, child = begin_gateway(shared, bodies_bytes_max=str(HELD_MAX))
    yield url, child
    assert child.end() == 0


def test_many_large_bodies_at_once_cost_bounded_memory(gateway: tuple[str, Child]):
    url, child = gateway
    # It is handed on to the model, neither counted nor given back.
    large = {"of_times_to_come": " " * (5 * MIB)}

    def ask(number: int) -> str:
        # It comes again by itself when it is told to.
        with OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=40) as client:
            response = client.responses.create(
                model=MODEL, input=f"[[say large-{number}]]", extra_body=large
            )
        return response.output_text

    warmed(url)
    before = memory(child.process.pid)
    texts = together(ask, range(LARGE), workers=LARGE)
    grown = memory(child.process.pid, "VmHWM") - before
    assert texts == [f"large-{number}" for number in range(LARGE)]
    refusals = child.lines("request.answered", path="/v1/responses", status=429)
    assert refusals
    # A body is copied a few times on its way to the queue.
    assert grown < 6 * HELD_MAX, f"{grown / MIB:.1f} MiB"
