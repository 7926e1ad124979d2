"""The size of a turn, counted without asking for it."""

import pytest
from openai import BadRequestError, NotFoundError

from services.model.tokenizer import Tokenizer
from tests.whole.running import MODEL, function, message

COUNTER = Tokenizer()
SHORT, LONG = "Where is my order?", "It was sent on 2026-11-02 from the depot in Rotterdam."


def counted(client, **given: object) -> int:
    answer = client.responses.input_tokens.count(model=MODEL, **given)
    assert answer.object == "response.input_tokens"
    return answer.input_tokens


def test_input_instructions_and_tools_are_counted(shared):
    with shared.client() as client:
        alone = counted(client, input=SHORT)
        assert alone == COUNTER.count_text(SHORT)
        assert counted(client, input=[message(SHORT), message(LONG)]) == (
            alone + COUNTER.count_text(LONG)
        )
        assert counted(client, input=SHORT, instructions=LONG) == alone + COUNTER.count_text(LONG)
        assert counted(client, input=SHORT, tools=[function("look_up", name="string")]) > alone
        form = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
        assert counted(client, input=SHORT, text={"format": form}) > alone


def test_history_counts_and_grows_with_every_turn(shared):
    with shared.client() as client:
        conversation = client.conversations.create(items=[message(LONG)])
        before = counted(client, conversation=conversation.id)
        assert before == COUNTER.count_text(LONG)
        first = client.responses.create(model=MODEL, input=SHORT, conversation=conversation.id)
        after = counted(client, conversation=conversation.id, input=SHORT)
        said = COUNTER.count_text(first.output_text)
        assert after == before + 2 * COUNTER.count_text(SHORT) + said
        chained = counted(client, previous_response_id=first.id, input=SHORT)
        assert chained == after
        item = client.conversations.items.list(conversation.id, order="asc").data[0]
        client.conversations.items.delete(item.id, conversation_id=conversation.id)
        assert counted(client, conversation=conversation.id, input=SHORT) == after - before


def test_counting_stores_nothing_and_no_turn_is_in_its_way(shared):
    with shared.client() as client:
        conversation = client.conversations.create(items=[message(LONG)])
        running = client.responses.create(
            model=MODEL, input="Hi [[hang]]", conversation=conversation.id, background=True
        )
        before = shared.last_sequences()["CONVERSATIONS"]
        assert counted(client, conversation=conversation.id) == COUNTER.count_text(LONG)
        assert shared.last_sequences()["CONVERSATIONS"] == before
        client.responses.cancel(running.id)


def test_what_a_turn_would_be_refused_for_is_refused(shared):
    with shared.client() as client:
        with pytest.raises(NotFoundError, match="Conversation with id"):
            counted(client, conversation="conv_00000000", input=SHORT)
        with pytest.raises(BadRequestError) as unknown:
            counted(client, previous_response_id="resp_00000000", input=SHORT)
        assert unknown.value.code == "previous_response_not_found"
        with pytest.raises(BadRequestError) as both:
            counted(client, conversation="conv_00000000", previous_response_id="resp_00000000")
        assert both.value.code == "mutually_exclusive_parameters"
        call = {"type": "function_call", "call_id": "c1", "name": "x", "arguments": "{}"}
        with pytest.raises(BadRequestError, match="No tool output found"):
            counted(client, input=[call])
