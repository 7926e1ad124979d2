"""Windows that are longer than their model takes."""

import json

import pytest
from openai import BadRequestError

from tests.whole.running import function, message, output_of

MODEL = "simulator-1000"
TOO_LONG = {
    "message": "Your input exceeds the context window of this model. Please adjust your input "
    "and try again.",
    "type": "invalid_request_error",
    "param": "input",
    "code": "context_length_exceeded",
}


def long(mark: str) -> str:
    return f"{mark} " + "word " * 300


def test_a_window_that_is_too_long_is_refused_and_the_conversation_stays_usable(shared):
    with shared.client() as client:
        items = [message(long(f"CUT-{n}")) for n in range(6)]
        conversation = client.conversations.create(items=items)
        for stream in (False, True):
            with pytest.raises(BadRequestError) as refused:
                client.responses.create(
                    model=MODEL, input="Hi", conversation=conversation.id, stream=stream
                )
            assert refused.value.body == TOO_LONG
        assert len(client.conversations.items.list(conversation.id).data) == 6
        again = client.responses.create(
            model="simulator", input="Hi", conversation=conversation.id, truncation="disabled"
        )
        assert again.status == "completed"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_oldest_items_are_left_out_if_the_turn_lets_them_go(shared, stream):
    shared.forget_received()
    with shared.client() as client:
        items = [message(long(f"LET-{n}")) for n in range(6)]
        conversation = client.conversations.create(items=items)
        given = {"model": MODEL, "input": "LET-new", "conversation": conversation.id}
        answer = client.responses.create(**given, truncation="auto", stream=stream)
        if stream:
            with answer as events:
                answer = list(events)[-1].response
        assert (answer.status, answer.truncation) == ("completed", "auto")
        sent = json.loads(shared.received_with("LET-new")[-1])["input"]
        told = [part["text"].split()[0] for item in sent for part in item["content"]]
        assert 1 < len(told) < 7
        assert told == [*(f"LET-{n}" for n in range(6)), "LET-new"][-len(told) :]
        # Nothing left the conversation.
        assert len(client.conversations.items.list(conversation.id).data) == 8


def test_calls_and_their_outputs_are_left_out_together(shared):
    shared.forget_received()
    tools = [function("look_up", name="string")]
    with shared.client() as client:
        response = client.responses.create(model=MODEL, input="look_up PAIR-1", tools=tools)
        for n in range(4):
            called = [item for item in response.output if item.type == "function_call"]
            outputs = [output_of(item.call_id, long(f"OUT-{n}")) for item in called]
            response = client.responses.create(
                model=MODEL,
                input=[*outputs, message(f"look_up PAIR-{n + 2}")],
                tools=tools,
                previous_response_id=response.id,
                truncation="auto",
            )
            assert response.status == "completed"
        sent = json.loads(shared.received_with("PAIR-5")[-1])["input"]
    calls = {item["call_id"] for item in sent if item["type"] == "function_call"}
    answers = {item["call_id"] for item in sent if item["type"] == "function_call_output"}
    assert answers == calls
    assert not any("OUT-0" in json.dumps(item) for item in sent)


def test_new_input_that_alone_is_too_long_is_refused(shared):
    with shared.client() as client, pytest.raises(BadRequestError) as refused:
        client.responses.create(
            model=MODEL, input=" ".join(long("x") for _ in range(5)), truncation="auto"
        )
    assert refused.value.body == TOO_LONG
