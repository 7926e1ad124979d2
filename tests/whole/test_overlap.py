"""Turns that meet on one conversation: refused, in order of acceptance, or ended for the next."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from nats.aio.client import Client

from schemas import subjects, turn_requests
from schemas.turn_requests import TurnRequest
from services import ids
from services.responder.settings import ResponderSettings
from tests.builders import raw
from tests.whole.running import MODEL, PROJECT, Running, folded, message, names, together, until

LOCKED = "conversation_locked"
TOGETHER = 50


@pytest.fixture(scope="module")
def two_responders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An instance of its own with a second responder; tests kill neither for good."""
    running = Running(tmp_path_factory.mktemp("overlap"), tokens_budget="0")
    try:
        running.start()
        running.beside("responder").said("responder.started")
        yield running
    finally:
        running.end()


def conversation(running: Running, **given: Any) -> str:
    with running.client() as client:
        return str(client.conversations.create(**given).id)


def queued(running: Running, asked: list[tuple[str, str]], *, overlap: str = "queue") -> list[str]:
    """Response ids of turns put on the queue in this order: conversation id and input of each."""
    requests = [
        TurnRequest(
            response_id=ids.response_id(conversation_id),
            conversation_id=conversation_id,
            body=raw({"model": MODEL, "input": text, "conversation": conversation_id}),
            overlap=overlap,
        )
        for conversation_id, text in asked
    ]

    async def publish(client: Client) -> None:
        js = client.jetstream()
        for request in requests:
            await js.publish(
                subjects.turn_request(PROJECT, request.conversation_id),
                turn_requests.encode(request),
                headers={"Nats-Msg-Id": request.response_id},
            )

    running.on_log(publish)
    return [request.response_id for request in requests]


def ended(running: Running, conversation_id: str) -> list[str]:
    """Response ids of a conversation's turns in the order of their ends."""
    return [turn.id for turn in running.fold(conversation_id).state.turns.upwards(0)]


def test_of_turns_at_the_same_time_all_but_one_are_refused(two_responders: Running):
    conversation_id = conversation(two_responders)
    two_responders.forget_received()

    def ask(number: int) -> str | None:
        try:
            with two_responders.client() as client:
                client.responses.create(
                    model=MODEL,
                    input=f"[[delay 0.1]] at-once-{number}",
                    conversation=conversation_id,
                )
        except openai.BadRequestError as error:
            return error.code
        return None

    answers = together(ask, range(TOGETHER), workers=TOGETHER)
    accepted = answers.count(None)
    assert accepted >= 1
    assert answers.count(LOCKED) == TOGETHER - accepted
    assert len(two_responders.received_with("at-once-")) == accepted
    assert len(two_responders.fold(conversation_id).state.line) == 2 * accepted


def test_queued_turns_are_answered_in_the_order_of_acceptance(two_responders: Running):
    conversation_id = conversation(two_responders)
    two_responders.forget_received()
    asked = queued(
        two_responders, [(conversation_id, f"in-order-{number}") for number in range(TOGETHER)]
    )
    until(lambda: len(ended(two_responders, conversation_id)) == TOGETHER, wait_s=60)
    assert ended(two_responders, conversation_id) == asked
    assert len(two_responders.received_with("in-order-")) == TOGETHER
    until(lambda: two_responders.turns_waiting() == 0)


def test_no_conversation_waits_for_another(two_responders: Running):
    slow = conversation(two_responders)
    others = [conversation(two_responders) for _ in range(7)]
    queued(two_responders, [(slow, f"[[gate slow]] slow-{number}") for number in range(3)])
    rounds = [(each, f"quick-{turn}") for turn in range(5) for each in others]
    asked = queued(two_responders, rounds)
    until(lambda: all(len(ended(two_responders, each)) == 5 for each in others))
    assert ended(two_responders, slow) == []
    for index, each in enumerate(others):
        assert ended(two_responders, each) == asked[index :: len(others)]
    two_responders.open_gate("slow")
    until(lambda: len(ended(two_responders, slow)) == 3)


def test_an_interrupt_ends_the_turn_that_runs_and_goes_before_those_that_wait(
    two_responders: Running,
):
    conversation_id = conversation(two_responders, items=[message("before")])
    two_responders.forget_received()
    first, second = queued(
        two_responders,
        [(conversation_id, "[[hang]] first"), (conversation_id, "second")],
    )
    until(lambda: two_responders.received_with("first"))
    with two_responders.client() as client:
        response = client.responses.create(
            model=MODEL,
            input="third",
            conversation=conversation_id,
            extra_headers={"Turnlog-Overlap": "interrupt"},
        )
    assert response.status == "completed"
    until(lambda: len(ended(two_responders, conversation_id)) == 3)
    assert ended(two_responders, conversation_id) == [first, response.id, second]
    with two_responders.client() as client:
        cancelled = client.responses.retrieve(first)
    assert cancelled.status == "cancelled"
    cancels = [
        event["data"]["interrupted_by"]
        for commit in two_responders.commits(conversation_id)
        for event in json.loads(commit.payload)["events"]
        if event["type"] == "turn_cancelled"
    ]
    assert cancels == [response.id]


def test_an_interrupted_stream_ends_as_cancelled_with_what_was_said(two_responders: Running):
    conversation_id = conversation(two_responders)
    with two_responders.client() as client, ThreadPoolExecutor(1) as pool:
        stream = client.responses.create(
            model=MODEL,
            input="[[hang 3]] streamed-away",
            conversation=conversation_id,
            stream=True,
        )
        events = iter(stream)
        until(lambda: next(events).type == "response.output_text.delta")
        after = pool.submit(
            client.responses.create,
            model=MODEL,
            input="instead",
            conversation=conversation_id,
            extra_headers={"Turnlog-Overlap": "interrupt"},
        )
        *_, last = events
        assert last.type == "response.failed"
        assert last.response.status == "cancelled"
        assert last.response.output[0].status == "incomplete"
        assert after.result(60).status == "completed"
    assert [name for each in two_responders.commits(conversation_id) for name in names(each)][
        1:
    ] == ["turn_requested", "turn_cancelled", "turn_requested", "turn_completed"]


def test_an_interrupt_that_would_be_refused_ends_nothing(two_responders: Running):
    conversation_id = conversation(two_responders)
    with two_responders.client() as client, ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            client.responses.create,
            model=MODEL,
            input="[[gate goes-on]] goes-on",
            conversation=conversation_id,
        )
        until(lambda: two_responders.received_with("goes-on"))
        with pytest.raises(openai.BadRequestError, match="No tool call found"):
            client.responses.create(
                model=MODEL,
                input=[{"type": "function_call_output", "call_id": "call_x", "output": "x"}],
                conversation=conversation_id,
                extra_headers={"Turnlog-Overlap": "interrupt"},
            )
        two_responders.open_gate("goes-on")
        assert running.result(60).status == "completed"


def test_an_interrupt_ends_a_turn_nobody_runs_any_more(wounded: Running):
    conversation_id = conversation(wounded)
    (lost,) = queued(wounded, [(conversation_id, "[[hang]] lost")])
    until(lambda: wounded.received_with("lost"))
    wounded.kill("responder")
    with wounded.client() as client:
        response = client.responses.create(
            model=MODEL,
            input="instead of it",
            conversation=conversation_id,
            extra_headers={"Turnlog-Overlap": "interrupt"},
        )
    assert response.status == "completed"
    assert ended(wounded, conversation_id) == [lost, response.id]
    until(lambda: wounded.turns_waiting() == 0)


def test_who_waits_behind_a_turn_that_would_not_have_waited_is_next(wounded: Running):
    other = wounded.beside("responder")
    other.said("responder.started")
    conversation_id = conversation(wounded)
    # It is not delivered again for as long as this takes: it has to be looked for.
    with wounded.patient_queue():
        (first,) = queued(wounded, [(conversation_id, "[[gate next]] first")], overlap="reject")
        until(lambda: wounded.received_with("[[gate next]]"))
        (second,) = queued(wounded, [(conversation_id, "second")])
        assert wounded.up is not None
        left = {"response_id": second, "reason": "conversation_busy"}
        until(lambda: wounded.up.lines("turn.left", **left) or other.lines("turn.left", **left))
        wounded.open_gate("next")
        until(lambda: ended(wounded, conversation_id) == [first, second])
        until(lambda: wounded.turns_waiting() == 0)
    assert other.end() == 0


def test_what_waits_goes_on_after_a_responder_was_killed(wounded: Running):
    other = wounded.beside("responder")
    other.said("responder.started")
    conversations = [conversation(wounded) for _ in range(4)]
    orders = ["", *["[[gate kill]] "] * 5]
    asked = queued(
        wounded,
        [
            (each, f"{order}kill-{number}")
            for number, order in enumerate(orders)
            for each in conversations
        ],
    )
    until(lambda: any(ended(wounded, each) for each in conversations))
    wounded.kill("responder")
    other.end(signal.SIGKILL)
    wounded.open_gate("kill")
    until(lambda: wounded.turns_waiting() == 0, wait_s=60)
    for index, each in enumerate(conversations):
        assert ended(wounded, each) == asked[index::4]
        folded(wounded.commits(each))


def waiting_in_the_background(running: Running, text: str, **given: Any) -> tuple[str, str, str]:
    """A conversation, the turn that runs until a gate is opened, and the one that waits."""
    conversation_id = conversation(running)
    (first,) = queued(running, [(conversation_id, f"[[gate {text}]] first-{text}")])
    until(lambda: running.received_with(f"first-{text}"))
    with running.client() as client:
        response = client.responses.create(
            model=MODEL,
            input=text,
            conversation=conversation_id,
            background=True,
            extra_headers={"Turnlog-Overlap": "queue"},
            **given,
        )
        assert response.status == "queued"
        assert client.responses.retrieve(response.id).status == "queued"
    return conversation_id, first, response.id


def test_a_turn_in_the_background_is_accepted_before_it_is_its_turn(two_responders: Running):
    conversation_id, first, waiting = waiting_in_the_background(two_responders, "accepted")
    two_responders.open_gate("accepted")
    with two_responders.client() as client:
        until(lambda: client.responses.retrieve(waiting).status == "completed")
    assert ended(two_responders, conversation_id) == [first, waiting]


def test_a_turn_that_waits_is_cancelled_without_a_call_of_the_model(two_responders: Running):
    conversation_id, first, waiting = waiting_in_the_background(two_responders, "never-asked")
    with two_responders.client() as client:
        for _ in range(2):
            assert client.responses.cancel(waiting).status == "cancelled"
        assert client.responses.retrieve(waiting).status == "cancelled"
    two_responders.open_gate("never-asked")
    until(lambda: len(ended(two_responders, conversation_id)) == 2)
    assert ended(two_responders, conversation_id) == [waiting, first]
    until(lambda: two_responders.turns_waiting() == 0)
    assert not two_responders.received_with('"never-asked"')
    assert [name for each in two_responders.commits(conversation_id) for name in names(each)][
        1:
    ] == ["turn_requested", "turn_requested", "turn_cancelled", "turn_completed"]


def test_a_turn_that_waited_for_a_refusal_ends_as_failed(two_responders: Running):
    conversation_id, first, waiting = waiting_in_the_background(
        two_responders,
        "answered-nothing",
        extra_body={
            "input": [{"type": "function_call_output", "call_id": "call_x", "output": "x"}]
        },
    )
    two_responders.open_gate("answered-nothing")
    with two_responders.client() as client:
        until(lambda: client.responses.retrieve(waiting).status == "failed")
        error = client.responses.retrieve(waiting).error
        assert error.code == "invalid_prompt"
        assert error.message == "No tool call found for function call output with call_id call_x."
    assert ended(two_responders, conversation_id) == [first, waiting]


def test_a_turn_nobody_asked_for_is_not_found(two_responders: Running):
    conversation_id = conversation(two_responders)
    unknown = ids.response_id(conversation_id)
    with two_responders.client() as client:
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(unknown)
        with pytest.raises(openai.NotFoundError):
            client.responses.cancel(unknown)


UNREADABLE = (
    b'{"response_id":"\xff","conversation_id":"%s","body":{}}',
    b'{"response_id":"resp_x","conversation_id":"%s","body":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"response_id":"resp_x","conversation_id":"%s","body":{"conversation":"\xff"}}',
)


@pytest.mark.parametrize("index", range(len(UNREADABLE)))
def test_a_message_nobody_can_read_keeps_no_turn_waiting(two_responders: Running, index: int):
    conversation_id = conversation(two_responders)
    payload = UNREADABLE[index].replace(b"%s", conversation_id.encode())

    async def publish(client: Client) -> None:
        subject = subjects.turn_request(PROJECT, conversation_id)
        await client.jetstream().publish(subject, payload)

    with two_responders.patient_queue():
        two_responders.on_log(publish)
        behind = [(conversation_id, f"behind-{number}") for number in range(3)]
        asked = queued(two_responders, behind)
        until(lambda: ended(two_responders, conversation_id) == asked)
    until(lambda: two_responders.turns_waiting() == 0)


def test_a_turn_waits_for_a_long_one_however_often_it_is_delivered(two_responders: Running):
    async def deliver_often(client: Client) -> None:
        js = client.jetstream()
        info = await js.consumer_info(subjects.TURN_REQUESTS, subjects.RESPONDER)
        info.config.ack_wait = 1
        await js.add_consumer(subjects.TURN_REQUESTS, info.config)

    def deliveries() -> int:
        return two_responders.taken_from_queue().delivered.consumer_seq

    two_responders.on_log(deliver_often)
    conversation_id = conversation(two_responders)
    with two_responders.client() as client, ThreadPoolExecutor(1) as pool:
        long = pool.submit(
            client.responses.create,
            model=MODEL,
            input="[[gate long]] long",
            conversation=conversation_id,
        )
        until(lambda: two_responders.received_with("[[gate long]] long"))
        asked = queued(two_responders, [(conversation_id, "in the meantime")])
        delivered = deliveries()
        until(lambda: deliveries() > delivered + 2 * ResponderSettings().turn_attempts_max)
        two_responders.open_gate("long")
        first = long.result(60)
    until(lambda: ended(two_responders, conversation_id) == [first.id, *asked])
    assert len(two_responders.received_with("[[gate long]] long")) == 2
    until(lambda: two_responders.turns_waiting() == 0)
