from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.whole.running import (
    MODEL,
    Running,
    folded,
    listed,
    message,
    texts,
    together,
    until,
)

LOCKED = {
    "message": "Another process is currently operating on this conversation. "
    "Please retry in a few seconds.",
    "type": "invalid_request_error",
    "param": "conversation",
    "code": "conversation_locked",
}


def test_items_of_two_gateways_are_all_there_once_in_each_writers_order(
    shared: Running, second_gateway: str
):
    with shared.client() as first, shared.client(second_gateway) as second:
        conversation = first.conversations.create()

        def write(writer: int) -> None:
            client = first if writer % 2 else second
            for number in range(25):
                client.conversations.items.create(
                    conversation.id, items=[message(f"{writer}:{number}")]
                )

        together(write, range(4), workers=4)

    for url in (shared.url, second_gateway):
        with shared.http(url) as http:
            found = texts(listed(http, conversation.id))
        assert len(found) == 100
        for writer in range(4):
            own = [text for text in found if text.startswith(f"{writer}:")]
            assert own == [f"{writer}:{number}" for number in range(25)]
    folded(shared.commits(conversation.id))


def test_fifty_at_once_from_each_of_two_gateways_are_all_there_once(
    shared: Running, second_gateway: str
):
    with shared.client() as first, shared.client(second_gateway) as second:
        conversation = first.conversations.create()

        def write(number: int) -> str | None:
            client = first if number % 2 else second
            text = f"at once {number}"
            try:
                client.conversations.items.create(conversation.id, items=[message(text)])
            except openai.InternalServerError:
                return None
            return text

        written = together(write, range(100), workers=50)

    with shared.http() as http:
        assert sorted(texts(listed(http, conversation.id))) == sorted(filter(None, written))
    assert written.count(None) == 0


def test_of_two_turns_at_once_one_is_refused_and_the_model_is_called_once(
    shared: Running, second_gateway: str
):
    with shared.http() as first, shared.http(second_gateway) as second, shared.client() as client:
        for round_number in range(4):
            conversation = client.conversations.create()
            marker = f"at once, round {round_number}"
            stream = round_number == 3
            body = {
                "model": MODEL,
                "input": f"[[gate at-once-{round_number}]] {marker}",
                "conversation": conversation.id,
                "stream": stream,
            }
            with ThreadPoolExecutor(2) as pool:
                asked = [
                    pool.submit(http.post, "/v1/responses", json=body) for http in (first, second)
                ]
                until(lambda asked=asked: any(each.done() for each in asked))
                shared.open_gate(f"at-once-{round_number}")
                answers = [each.result() for each in asked]

            assert sorted(answer.status_code for answer in answers) == [200, 400]
            (refused,) = [answer for answer in answers if answer.status_code == 400]
            assert refused.json() == {"error": LOCKED}
            assert len(shared.received_with(marker)) == 1
            assert len(listed(first, conversation.id)) == 2


def test_a_busy_conversation_can_be_read_and_edited(shared: Running):
    with shared.client() as client, ThreadPoolExecutor(1) as pool:
        conversation = client.conversations.create(items=[message("before")])
        turn = pool.submit(
            client.responses.create,
            model=MODEL,
            input="[[gate slow-busy]] slow-busy",
            conversation=conversation.id,
        )
        until(lambda: shared.received_with("slow-busy"))
        added = client.conversations.items.create(conversation.id, items=[message("meanwhile")])
        during = client.conversations.items.list(conversation.id, order="asc").data
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=MODEL, input="x", conversation=conversation.id)
        assert refused.value.body == LOCKED
        shared.open_gate("slow-busy")
        response = turn.result(60)
        after = [item.id for item in client.conversations.items.list(conversation.id, order="asc")]

    assert [item.id for item in during] == after[:2]
    assert after[1] == added.data[0].id
    assert after[3] == response.output[0].id


def test_turns_that_queue_are_answered_in_their_order(shared: Running, second_gateway: str):
    with shared.client() as client, shared.client(second_gateway) as other:
        conversation = client.conversations.create()

        def ask(number: int) -> Any:
            asker = client if number % 2 else other
            return asker.responses.create(
                model=MODEL,
                input=f"[[delay 0.2]] queued-{number}",
                conversation=conversation.id,
                extra_headers={"Turnlog-Overlap": "queue"},
            )

        with ThreadPoolExecutor(4) as pool:
            asked = []
            for number in range(4):
                before = shared.last_sequences()["TURN_REQUESTS"]
                asked.append(pool.submit(ask, number))
                until(lambda b=before: shared.last_sequences()["TURN_REQUESTS"] == b + 1)
            answers = [each.result(60) for each in asked]

    assert [answer.status for answer in answers] == ["completed"] * 4
    with shared.http() as http:
        said = texts(listed(http, conversation.id))
    assert said[::2] == [f"[[delay 0.2]] queued-{number}" for number in range(4)]
    assert said[1::2] == [answer.output_text for answer in answers]
