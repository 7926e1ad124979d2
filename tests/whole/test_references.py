"""Items named by their id alone: the id leads to where they are."""

import json

import pytest
from openai import NotFoundError

from tests.whole.running import MODEL, function, message, output_of, texts, until


def named(item_id: str) -> dict[str, str]:
    return {"type": "item_reference", "id": item_id}


def received_texts(shared, mark):
    """Texts of the newest request the model was sent that holds ``mark``."""
    body = json.loads(shared.received_with(mark)[-1])
    return texts(json.dumps(item).encode() for item in body["input"])


def test_an_item_of_any_stored_response_can_be_named(shared):
    with shared.client() as client:
        first = client.responses.create(model=MODEL, input="What is REF-1?")
        said = first.output[0]
        client.responses.create(model=MODEL, input=[named(said.id), message("And REF-1b?")])
    assert received_texts(shared, "REF-1b") == [first.output_text, "And REF-1b?"]


def test_a_reference_needs_no_type(shared):
    with shared.client() as client:
        first = client.responses.create(model=MODEL, input="What is REF-2?")
        for bare in ({"id": first.output[0].id}, {"id": first.output[0].id, "type": None}):
            client.responses.create(model=MODEL, input=[bare, message("And REF-2b?")])
            assert received_texts(shared, "REF-2b")[0] == first.output_text


def test_a_tool_call_can_be_named_and_answered_without_a_chain(shared):
    with shared.client() as client:
        called = client.responses.create(
            model=MODEL, input="look_up x", tools=[function("look_up", name="string")]
        ).output[0]
        answer = client.responses.create(
            model=MODEL,
            input=[message("look_up x"), named(called.id), output_of(called.call_id, "REF-3")],
        )
    assert "REF-3" in answer.output_text


def test_an_item_of_a_response_is_put_into_a_conversation_by_its_id(shared):
    with shared.client() as client:
        first = client.responses.create(model=MODEL, input="What is REF-4?")
        conversation = client.conversations.create(items=[named(first.output[0].id)])
        listed = client.conversations.items.list(conversation.id).data
        assert [item.to_dict() for item in listed] == [first.output[0].to_dict()]
        other = client.conversations.create()
        client.conversations.items.create(other.id, items=[named(first.output[0].id)])
        assert client.conversations.items.list(other.id).data[0].id == first.output[0].id


def test_what_is_gone_or_was_never_kept_cannot_be_named(shared):
    with shared.client() as client:
        unstored = client.responses.create(model=MODEL, input="Hi", store=False)
        deleted = client.responses.create(model=MODEL, input="Hi")
        client.responses.delete(deleted.id)
        conversation = client.conversations.create(items=[message("One")])
        [item] = client.conversations.items.list(conversation.id).data
        client.conversations.items.delete(item.id, conversation_id=conversation.id)
        whole = client.conversations.create(items=[message("All")])
        [with_all] = client.conversations.items.list(whole.id).data
        client.conversations.delete(whole.id)
        before = shared.last_sequence()
        gone = (unstored.output[0].id, deleted.output[0].id, item.id, with_all.id)
        for item_id in (*gone, "rs_x", "msg_0"):
            with pytest.raises(NotFoundError) as refused:
                client.responses.create(model=MODEL, input=[named(item_id), message("x")])
            assert refused.value.body == {
                "message": f"Item with id '{item_id}' not found. Items are not persisted when "
                "`store` is set to false. Try again with `store` set to true, or remove this "
                "item from your input.",
                "type": "invalid_request_error",
                "param": "input",
                "code": None,
            }
            with pytest.raises(NotFoundError):
                client.conversations.create(items=[named(item_id)])
        assert shared.last_sequence() == before


def test_a_turn_keeps_what_it_was_admitted_with_when_it_is_taken_over(wounded):
    with wounded.client() as client:
        first = client.responses.create(model=MODEL, input="What is REF-6?")
        response = client.responses.create(
            model=MODEL,
            input=[named(first.output[0].id), message("taken over [[hang once]]")],
            background=True,
        )
        until(lambda: wounded.received_with("taken over"))
        wounded.kill("responder")
        client.responses.delete(first.id)
        done = until(
            lambda: (
                (found := client.responses.retrieve(response.id)).status == "completed" and found
            )
        )
        assert done.output_text
        listed = client.responses.input_items.list(response.id, order="asc").data
        assert listed[0].id == first.output[0].id
