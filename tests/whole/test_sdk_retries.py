"""What the SDK sends again by itself, without a key to know it by, happens once."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, OpenAI

from tests.whole.running import MODEL, Running, message, until

RETRIES = "x-stainless-retry-count"
REPEATED = {RETRIES: "1"}
"""Sent with one call; among a client's default headers the SDK overwrites it."""


class Lossy(httpx2.BaseTransport):
    """Delivers every request and loses the answer to the first one of each kind."""

    def __init__(self) -> None:
        self._carrier = httpx2.HTTPTransport()
        self.lost: list[Any] = []
        self.answered: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._carrier.handle_request(request)
        self.answered.append(request.headers[RETRIES])
        if request.method == "GET" or request.headers[RETRIES] != "0":
            return answer
        body = answer.read()
        self.lost.append(json.loads(body) if body.startswith(b"{") else body)
        answer.close()
        msg = "the answer was lost"
        raise httpx2.ReadError(msg, request=request)

    def close(self) -> None:
        self._carrier.close()


@pytest.fixture
def lossy() -> Lossy:
    return Lossy()


@pytest.fixture
def client(shared: Running, lossy: Lossy):
    with OpenAI(
        base_url=f"{shared.url}/v1",
        api_key="any",
        http_client=httpx2.Client(transport=lossy, timeout=30),
    ) as sdk:
        yield sdk


def test_a_turn_whose_answer_was_lost_is_run_once(shared: Running, client: OpenAI, lossy: Lossy):
    conversation = client.conversations.create().id

    response = client.responses.create(model=MODEL, input="lost turn", conversation=conversation)

    assert response.id == lossy.lost[-1]["id"]
    assert lossy.answered[-2:] == ["0", "1"]
    assert len(shared.received_with("lost turn")) == 1
    assert len(client.conversations.items.list(conversation).data) == 2


def test_a_chain_and_a_stream_whose_answers_were_lost_are_run_once(
    shared: Running, client: OpenAI, lossy: Lossy
):
    first = client.responses.create(model=MODEL, input="lost fresh turn")
    assert first.to_dict() == lossy.lost[-1]
    with client.responses.create(
        model=MODEL, input="lost stream", previous_response_id=first.id, stream=True
    ) as stream:
        events = list(stream)
    told = [
        json.loads(line.removeprefix(b"data: "))
        for line in lossy.lost[-1].splitlines()
        if line.startswith(b"data: ")
    ]
    assert [event.to_dict() for event in events] == told
    for text in ("lost fresh turn", "lost stream"):
        assert len([body for body in shared.received_with(text) if text in last_text(body)]) == 1


def last_text(body: bytes) -> str:
    return str(json.loads(body)["input"][-1]["content"])


def test_a_turn_that_outlasts_the_clients_patience_is_run_once(shared: Running):
    sent: list[httpx2.Request] = []
    with (
        shared.client() as client,
        OpenAI(
            base_url=f"{shared.url}/v1",
            api_key="any",
            max_retries=50,
            http_client=httpx2.Client(event_hooks={"request": [sent.append]}),
            timeout=0.5,
        ) as hasty,
        ThreadPoolExecutor(1) as pool,
    ):
        conversation = client.conversations.create().id

        answer = pool.submit(
            hasty.responses.create,
            model=MODEL,
            input="[[gate patience]] patience",
            conversation=conversation,
        )
        until(lambda: len(sent) > 1 and shared.received_with("patience"))
        shared.open_gate("patience")

        assert answer.result().status == "completed"
        assert len(shared.received_with("patience")) == 1
        assert len(client.conversations.items.list(conversation).data) == 2


def test_a_turn_whose_refusal_is_lost_while_another_runs_is_refused_again(
    shared: Running, client: OpenAI
):
    with shared.client() as other:
        conversation = other.conversations.create().id
        running = other.responses.create(
            model=MODEL, input="[[hang]] Hi", conversation=conversation, background=True
        )
        with pytest.raises(BadRequestError) as refused:
            client.responses.create(model=MODEL, input="lost refusal", conversation=conversation)
        assert refused.value.code == "conversation_locked"
        other.responses.cancel(running.id)


def test_a_turn_in_the_background_whose_answer_was_lost_is_run_once(
    shared: Running, client: OpenAI, lossy: Lossy
):
    begun = client.responses.create(model=MODEL, input="lost background", background=True)
    assert (begun.id, begun.status) == (lossy.lost[-1]["id"], "queued")
    until(lambda: client.responses.retrieve(begun.id).status == "completed")
    assert len(shared.received_with("lost background")) == 1


def test_a_turn_whose_refusal_was_lost_is_refused_again(client: OpenAI, lossy: Lossy):
    output: Any = {"type": "function_call_output", "call_id": "call_lost", "output": "x"}

    with pytest.raises(BadRequestError, match="with call_id call_lost"):
        client.responses.create(model=MODEL, input=[output])

    assert lossy.answered == ["0", "1"]


def test_a_turn_that_was_refused_is_asked_for_again(shared: Running):
    with shared.client() as client:
        conversation = client.conversations.create().id
        asked: Any = {"model": MODEL, "input": "refused before", "conversation": conversation}
        busy = client.responses.create(
            model=MODEL, input="[[hang 1]] busy", conversation=conversation, background=True
        )
        with pytest.raises(BadRequestError, match="currently operating"):
            client.responses.create(**asked)
        client.responses.cancel(busy.id)

        again = client.responses.create(**asked, extra_headers=REPEATED)

        assert again.status == "completed"
        assert len(shared.received_with("refused before")) == 1


def test_a_response_that_was_deleted_is_no_answer_to_a_repeat(shared: Running):
    with shared.client() as client:
        asked: Any = {"model": MODEL, "input": "deleted before the repeat"}
        deleted = client.responses.create(**asked)
        client.responses.delete(deleted.id)

        again = client.responses.create(**asked, extra_headers=REPEATED)

        assert again.id != deleted.id
        assert client.responses.retrieve(again.id).status == "completed"


def test_items_whose_answer_was_lost_are_added_once(client: OpenAI, lossy: Lossy):
    conversation = client.conversations.create(items=[message("a")])
    # Somebody else may have created an equal one: a new one is the safe answer.
    assert conversation.id != lossy.lost[-1]["id"]

    created = client.conversations.items.create(conversation.id, items=[message("b")])

    assert created.data[0].id == lossy.lost[-1]["data"][0]["id"]
    kept = client.conversations.items.list(conversation.id, order="asc").data
    assert [item.content[0].text for item in kept] == ["a", "b"]


def test_the_same_again_is_not_a_repeat(shared: Running):
    with shared.client() as client:
        conversation = client.conversations.create().id
        for _ in range(2):
            client.conversations.items.create(conversation, items=[message("again")])
            client.responses.create(model=MODEL, input="again", conversation=conversation)
        assert len(client.conversations.items.list(conversation).data) == 6
        # Sent as a repeat, but others stand behind what it would repeat.
        client.conversations.items.create(
            conversation, items=[message("again")], extra_headers=REPEATED
        )
        assert len(client.conversations.items.list(conversation).data) == 7
        client.responses.create(
            model=MODEL, input="again", conversation=conversation, extra_headers=REPEATED
        )
        assert len(client.conversations.items.list(conversation).data) == 9


@pytest.mark.parametrize("count", ["", "00", "-1", "+1", "1.0", "x"])
def test_only_a_count_of_repeats_makes_a_repeat(shared: Running, count: str):
    with shared.client() as client:
        conversation = client.conversations.create().id
        items = client.conversations.items
        items.create(conversation, items=[message("counted")])
        items.create(conversation, items=[message("counted")], extra_headers={RETRIES: count})
        assert len(items.list(conversation).data) == 2


def test_a_turn_that_failed_is_asked_for_again(shared: Running):
    with OpenAI(base_url=f"{shared.url}/v1", api_key="any", timeout=60) as patient:
        conversation = patient.conversations.create().id
        response = patient.responses.create(
            model=MODEL,
            input="[[error 429 1 times=3]] limited retry",
            conversation=conversation,
        )
        assert response.status == "completed"
        kinds = shared.events(conversation)
        assert kinds[1:3] == ["turn_requested", "turn_failed"]
        assert kinds[-2:] == ["turn_requested", "turn_completed"]


def test_a_request_that_comes_twice_is_run_once(shared: Running):
    """Beyond the queue's own window for it, which a client's ten minutes outlast."""

    async def ask_twice(client):
        from schemas import subjects, turn_requests  # noqa: PLC0415
        from services import ids  # noqa: PLC0415

        conversation_id = ids.conversation_id()
        response_id = ids.response_id(conversation_id)
        body = {"model": MODEL, "input": "[[delay 1]] sent twice", "background": True}
        payload = json.dumps(
            {"response_id": response_id, "conversation_id": conversation_id, "body": body}
        ).encode()
        assert turn_requests.decode(payload).response_id == response_id
        for _ in range(3):
            await client.jetstream().publish(
                subjects.turn_request(subjects.DEFAULT_PROJECT, conversation_id), payload
            )
        return response_id, conversation_id

    response_id, conversation_id = shared.on_log(ask_twice)
    until(lambda: shared.events(conversation_id)[-1:] == ["turn_completed"])
    until(lambda: shared.turns_waiting() == 0)
    assert len(shared.received_with("sent twice")) == 1
    assert shared.events(conversation_id).count("turn_started") == 0
    with shared.client() as client:
        assert client.responses.retrieve(response_id).status == "completed"
