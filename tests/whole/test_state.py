import json
from typing import Any

import msgspec
import openai
import pytest
from openai import OpenAI

from tests.whole.running import MODEL, Running, function, listed, message, output_of, texts

LAMPS = function("lamps", room="string")


class Sent(msgspec.Struct):
    """What the model was sent."""

    input: list[msgspec.Raw]
    store: bool
    instructions: str | None = None


def window(running: Running, marker: str) -> list[bytes]:
    """The input of the newest request to the model that holds ``marker``."""
    sent = msgspec.json.decode(running.received_with(marker)[-1], type=Sent)
    assert sent.store is False
    return [bytes(raw) for raw in sent.input]


@pytest.fixture
def client(shared: Running):
    with shared.client() as sdk:
        yield sdk


def asked(client: OpenAI, *, stream: bool, **fields: Any) -> Any:
    """A response, whichever way it is asked for."""
    if not stream:
        return client.responses.create(model=MODEL, **fields)
    with client.responses.stream(model=MODEL, **fields) as events:
        return events.get_final_response()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("chained", [False, True])
def test_parallel_calls_are_answered_in_the_next_turn(
    shared: Running, client: OpenAI, *, stream: bool, chained: bool
):
    marker = f"tools-{stream}-{chained}"
    orders = '[[call lamps {"room":"a"}]] [[call lamps {"room": "b"}]] [[call other]]'
    where: dict[str, Any] = {} if chained else {"conversation": client.conversations.create().id}

    first = asked(client, stream=stream, input=f"{marker} {orders}", tools=[LAMPS], **where)
    calls = [(item.name, item.arguments) for item in first.output]
    outputs = [output_of(item.call_id, f"lit {n}") for n, item in enumerate(first.output)]
    then = {"previous_response_id": first.id} if chained else where
    for missing in (outputs[:2], outputs[1:], []):
        with pytest.raises(openai.BadRequestError) as refused:
            asked(client, stream=stream, input=[*missing, message("so?")], tools=[LAMPS], **then)
        unanswered = next(o for o in outputs if o not in missing)["call_id"]
        assert refused.value.param == "input"
        assert refused.value.body["message"] == (
            f"No tool output found for function call {unanswered}."
        )
    second = asked(client, stream=stream, input=outputs, tools=[LAMPS], **then)

    assert calls == [("lamps", '{"room":"a"}'), ("lamps", '{"room": "b"}'), ("other", "{}")]
    assert len({item.call_id for item in first.output}) == 3
    assert "lamps says: lit 0. lamps says: lit 1. other says: lit 2." in second.output_text
    kinds = [json.loads(raw)["type"] for raw in window(shared, marker)]
    assert kinds == ["message"] + ["function_call"] * 3 + ["function_call_output"] * 3


def test_deleting_a_dangling_call_frees_the_conversation(client: OpenAI):
    conversation = client.conversations.create()
    first = client.responses.create(
        model=MODEL, input="[[call lamps]]", tools=[LAMPS], conversation=conversation.id
    )
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=MODEL, input="x", conversation=conversation.id)

    client.conversations.items.delete(first.output[0].id, conversation_id=conversation.id)

    later = client.responses.create(model=MODEL, input="x", conversation=conversation.id)
    assert later.status == "completed"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unstored_turn_of_a_conversation_is_appended_but_not_kept(
    shared: Running, client: OpenAI, *, stream: bool
):
    conversation = client.conversations.create()

    response = asked(client, stream=stream, input="a", conversation=conversation.id, store=False)

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=MODEL, input="b", previous_response_id=response.id)
    assert refused.value.code == "previous_response_not_found"
    with shared.http() as http:
        assert texts(listed(http, conversation.id)) == ["a", response.output_text]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("parent", [False, True])
@pytest.mark.parametrize("trouble", ["", " [[fail]]", " [[error 400]]"])
def test_an_unstored_turn_leaves_no_trace(
    shared: Running, client: OpenAI, *, stream: bool, parent: bool, trouble: str
):
    secret = f"Geheimnis-{stream}-{parent}-{len(trouble)}-qvx"
    said = f"{secret}{trouble}"
    after = client.responses.create(model=MODEL, input="parent").id if parent else None
    before = shared.last_stored()

    with shared.http() as http:
        answer = http.post(
            "/v1/responses",
            json={"model": MODEL, "input": said, "stream": stream, "store": False}
            | ({"previous_response_id": after} if after else {}),
        )
        told = answer.content.decode()

    assert ("resp_" in told) == (trouble != " [[error 400]]")
    if not trouble:
        assert secret in told
        gone = told[told.index("resp_") :].partition('"')[0]
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(gone)
    assert len(shared.received_with(secret)) == 1
    assert shared.last_stored() == before
    if "resp_" in told:
        assert shared.words_kept(told[told.index("resp_") :].partition('"')[0]) == 0


def test_no_file_holds_what_was_unstored_and_the_log_holds_the_rest(
    shared: Running, client: OpenAI
):
    client.responses.create(model=MODEL, input="Offenbarung-qvx")
    holding: dict[str, list[str]] = {"Geheimnis-": [], "Offenbarung-qvx": []}

    for path in (path for path in shared.data.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for text, found in holding.items():
            if text.encode() in content:
                found.append(str(path.relative_to(shared.data)))

    assert holding["Geheimnis-"] == []
    assert any("CONVERSATIONS" in name for name in holding["Offenbarung-qvx"])
    words = (shared.directory / "up.log").read_text()
    assert "Geheimnis-" not in words
    assert "Offenbarung" not in words


def test_chains_branch_and_leave_their_conversation_alone(shared: Running, client: OpenAI):
    conversation = client.conversations.create()
    ask = client.responses.create
    root = ask(model=MODEL, input="root-c", conversation=conversation.id)
    left = ask(model=MODEL, input="left-c", previous_response_id=root.id)
    right = ask(model=MODEL, input="right-c", previous_response_id=root.id)
    deep = ask(model=MODEL, input="deep-c", previous_response_id=left.id, instructions="only here")
    deeper = ask(model=MODEL, input="deeper-c", previous_response_id=deep.id)
    ask(model=MODEL, input="line-c", conversation=conversation.id)
    late = ask(model=MODEL, input="late-c", previous_response_id=root.id)

    said = [root.output_text, left.output_text, deep.output_text]
    assert texts(window(shared, "right-c")) == ["root-c", said[0], "right-c"]
    assert texts(window(shared, "deeper-c")) == [
        "root-c", said[0], "left-c", said[1], "deep-c", said[2], "deeper-c",
    ]  # fmt: skip
    assert texts(window(shared, "late-c")) == ["root-c", said[0], "late-c"]
    assert b"only here" not in shared.received_with("deeper-c")[-1]
    with shared.http() as http:
        on_line = texts(listed(http, conversation.id))
    assert [on_line[0], on_line[2]] == ["root-c", "line-c"]
    assert len(on_line) == 4
    assert (root.conversation.id, left.conversation) == (conversation.id, None)
    assert [r.previous_response_id for r in (root, left, right, deep, deeper, late)] == [
        None, root.id, root.id, left.id, deep.id, root.id,
    ]  # fmt: skip


def test_a_deleted_parent_has_no_new_children_but_keeps_the_old(shared: Running, client: OpenAI):
    ask = client.responses.create
    parent = ask(model=MODEL, input="parent-d")
    child = ask(model=MODEL, input="child-d", previous_response_id=parent.id)

    client.responses.delete(parent.id)

    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.retrieve(parent.id)
    assert unknown.value.body["message"] == f"Response with id '{parent.id}' not found."
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(parent.id)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(model=MODEL, input="no-d", previous_response_id=parent.id)
    assert refused.value.code == "previous_response_not_found"
    assert client.responses.retrieve(child.id).output_text == child.output_text
    ask(model=MODEL, input="grandchild-d", previous_response_id=child.id)
    assert texts(window(shared, "grandchild-d"))[::2] == ["parent-d", "child-d", "grandchild-d"]


def test_a_deleted_response_leaves_its_items(shared: Running, client: OpenAI):
    conversation = client.conversations.create()
    response = client.responses.create(model=MODEL, input="kept", conversation=conversation.id)

    with shared.http() as http:
        deleted = http.delete(f"/v1/responses/{response.id}")
        assert deleted.json() == {"id": response.id, "object": "response", "deleted": True}
        assert texts(listed(http, conversation.id)) == ["kept", response.output_text]


def test_a_deleted_conversation_is_gone_for_every_call(shared: Running, client: OpenAI):
    conversation = client.conversations.create(items=[message("x")])
    response = client.responses.create(model=MODEL, input="y", conversation=conversation.id)
    (item, *_) = client.conversations.items.list(conversation.id).data

    with shared.http() as http:
        deleted = http.delete(f"/v1/conversations/{conversation.id}")
        assert deleted.json() == {
            "id": conversation.id, "object": "conversation.deleted", "deleted": True,
        }  # fmt: skip
    calls = (
        lambda: client.conversations.retrieve(conversation.id),
        lambda: client.conversations.update(conversation.id, metadata={}),
        lambda: client.conversations.delete(conversation.id),
        lambda: client.conversations.items.list(conversation.id),
        lambda: client.conversations.items.create(conversation.id, items=[message("z")]),
        lambda: client.conversations.items.retrieve(item.id, conversation_id=conversation.id),
        lambda: client.conversations.items.delete(item.id, conversation_id=conversation.id),
        lambda: client.responses.create(model=MODEL, input="z", conversation=conversation.id),
    )
    for call in calls:
        with pytest.raises(openai.NotFoundError) as unknown:
            call()
        assert unknown.value.body == {
            "message": f"Conversation with id '{conversation.id}' not found.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    assert client.responses.retrieve(response.id).output_text == response.output_text


def test_edits_are_in_the_very_next_window(shared: Running, client: OpenAI):
    conversation = client.conversations.create(items=[message("one-e", "developer")])
    first = client.responses.create(model=MODEL, input="two-e", conversation=conversation.id)
    added = client.conversations.items.create(
        conversation.id, items=[message("three-e"), message("four-e", "assistant")]
    )
    remaining = client.conversations.items.delete(
        first.output[0].id, conversation_id=conversation.id
    )
    client.conversations.items.delete(added.data[0].id, conversation_id=conversation.id)

    client.responses.create(model=MODEL, input="five-e", conversation=conversation.id)

    assert (remaining.id, remaining.object) == (conversation.id, "conversation")
    assert texts(window(shared, "five-e")) == ["one-e", "two-e", "four-e", "five-e"]
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)
    one = client.conversations.items.retrieve(added.data[1].id, conversation_id=conversation.id)
    assert one.model_dump() == added.data[1].model_dump()


def test_metadata_is_replaced_as_a_whole(client: OpenAI):
    created = client.conversations.create(metadata={"a": "1", "b": "ü\u0000\u2028"})

    updated = client.conversations.update(created.id, metadata={"c": "3"})
    emptied = client.conversations.update(created.id, metadata=None)

    assert created.metadata == {"a": "1", "b": "ü\u0000\u2028"}
    assert updated.metadata == {"c": "3"}
    assert emptied.metadata == {}
    assert client.conversations.retrieve(created.id).model_dump() == emptied.model_dump()


def test_pages_of_the_sdk_hold_every_item_once(client: OpenAI):
    conversation = client.conversations.create()
    for chunk in range(3):
        numbers = range(chunk * 20, chunk * 20 + 20)
        client.conversations.items.create(
            conversation.id, items=[message(f"n{number}") for number in numbers]
        )

    for order, limit in (("asc", 7), ("desc", 20), ("asc", 60), ("desc", 59)):
        pages = client.conversations.items.list(conversation.id, order=order, limit=limit)
        found = [item.content[0].text for item in pages]
        expected = [f"n{number}" for number in range(60)]
        assert found == (expected if order == "asc" else expected[::-1])
    newest = client.conversations.items.list(conversation.id)
    assert (newest.data[0].content[0].text, newest.has_more) == ("n59", True)
