"""Items in every form the SDK has for them: what a server gave, it has to take."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.whole.running import MODEL, Running, function, message, output_of

REASONING = "simulator-reasoning"
LAMPS = function("lamps", room="string")

Item = dict[str, Any]


@pytest.fixture
def client(shared: Running):
    with OpenAI(base_url=f"{shared.url}/v1", api_key="any", timeout=30) as sdk:
        yield sdk


def every(client: OpenAI, conversation_id: str) -> list[Any]:
    return list(client.conversations.items.list(conversation_id, order="asc"))


def newest(running: Running, marker: str) -> dict[str, Any]:
    """The newest request to the model that holds ``marker``."""
    return json.loads(running.received_with(marker)[-1])


def dumped(items: list[Any]) -> list[Item]:
    return [item.model_dump(exclude_unset=True) for item in items]


def content(item: Item) -> Item:
    """An item without what storing it adds."""
    return {key: value for key, value in item.items() if key not in {"id", "status", "type"}}


@pytest.mark.parametrize(
    "dump",
    [
        lambda item: item.model_dump(),
        lambda item: item.model_dump(exclude_unset=True),
        lambda item: item.to_dict(mode="json"),
    ],
    ids=["whole", "set", "json"],
)
def test_what_comes_out_goes_in_again(shared: Running, client: OpenAI, dump: Callable[[Any], Item]):
    asked = {"model": REASONING, "tools": [LAMPS], "include": ["reasoning.encrypted_content"]}
    first = client.responses.create(input="round trip [[call lamps]]", **asked)
    answered = [output_of(first.output[1].call_id, "lit")]
    second = client.responses.create(input=answered, previous_response_id=first.id, **asked)
    history = [*map(dump, first.output), *answered, *map(dump, second.output)]

    client.responses.create(input=[message("in again"), *history], **asked)
    sent = newest(shared, "in again")["input"][1:]
    conversation = client.conversations.create(items=[message("in again"), *history])
    kept = [dump(item) for item in every(client, conversation.id)]
    copied = client.conversations.create(items=kept)
    copies = [dump(item) for item in every(client, copied.id)]

    assert [item["type"] for item in sent] == [
        "reasoning", "function_call", "function_call_output", "reasoning", "message",
    ]  # fmt: skip
    assert [item["type"] for item in kept[1:]] == [item["type"] for item in sent]
    assert copies == kept


@pytest.mark.parametrize(
    "odd",
    [
        {"type": None, "role": "user", "content": "odd"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "odd"}]},
        {"role": "assistant", "content": "odd", "phase": "commentary"},
        {
            "id": "msg_0123456789abcdef",
            "type": "message",
            "role": "assistant",
            "status": None,
            "phase": None,
            "content": [
                {"type": "output_text", "text": "odd", "annotations": [], "logprobs": None}
            ],
        },
        {
            "id": "msg_0123456789abcdef",
            "type": "message",
            "role": "user",
            "status": "incomplete",
            "content": [{"type": "input_text", "text": "odd"}],
        },
        {"type": "function_call_output", "call_id": "call_odd", "output": "odd", "id": None},
        {
            "type": "function_call_output",
            "call_id": "call_odd",
            "output": [{"type": "input_text", "text": "odd"}],
            "status": "incomplete",
            "created_by": None,
        },
    ],
    ids=["no type", "no id", "phase", "nulls", "label", "null id", "parts"],
)
def test_forms_that_clients_send_are_taken(shared: Running, client: OpenAI, odd: Item):
    call = {"type": "function_call", "call_id": "call_odd", "name": "lamps", "arguments": "{}"}
    given = [message("before"), *([call] if "call_id" in odd else ()), odd]

    told = client.responses.create(
        model=MODEL, input=[*given, message("behind the odd")], include=[], tools=[], metadata=None
    )
    conversation = client.conversations.create(items=given)

    assert told.output_text.startswith(f"I have read {len(given) + 1} items")
    assert "odd" in json.dumps(newest(shared, "behind the odd")["input"][-2])
    assert len(every(client, conversation.id)) == len(given)


def test_empty_lists_and_nulls_mean_nothing(client: OpenAI):
    for given in ({"items": []}, {"items": None}, {"metadata": None}, {}):
        created = client.conversations.create(**given)
        assert created.metadata == {}
        assert every(client, created.id) == []

    plain = client.responses.create(
        model=MODEL,
        input="x",
        conversation=None,
        previous_response_id=None,
        instructions=None,
        metadata=None,
        include=[],
        tools=[],
        stream=False,
    )

    assert (plain.conversation, plain.previous_response_id, plain.metadata) == (None, None, {})
    assert (plain.tools, plain.tool_choice) == ([], "auto")


def test_an_item_of_a_response_is_taken_by_every_conversation_under_its_own_id(client: OpenAI):
    response = client.responses.create(model=REASONING, input="one id")
    items = [item.model_dump(exclude_unset=True) for item in response.output]

    conversations = [client.conversations.create(items=items).id for _ in range(2)]
    line = client.conversations.create(items=[message("another line")]).id
    client.conversations.items.create(line, items=items)

    for conversation in (*conversations, line):
        assert [item.id for item in every(client, conversation)][-2:] == [
            item.id for item in response.output
        ]
    with pytest.raises(
        openai.BadRequestError, match=f"Duplicate item found with id {items[0]['id']}"
    ):
        client.conversations.items.create(line, items=items)


def test_content_is_stored_as_it_was_sent(client: OpenAI):
    texts = [
        "",
        " ",
        "\ttwo\r\n lines \n",
        "\u2028\x7f",
        "e\u0301 \u00e9",
        "👩\u200d👧",
        '{"a": 1}',
    ]
    odd = {"type": "output_text", "annotations": [], "logprobs": [], "extra": {"n": [1, None, "ü"]}}
    given: list[Item] = [
        *({"role": "user", "content": [{"type": "input_text", "text": text}]} for text in texts),
        {"role": "developer", "content": [{"type": "input_text", "text": t} for t in texts]},
        {"role": "assistant", "content": [{**odd, "text": "said"}], "phase": "final_answer"},
        {"type": "function_call", "call_id": "c1", "name": "lamps", "arguments": '{ "a":  1.0 }'},
        {"type": "function_call_output", "call_id": "c1", "output": ' {"a" : 1}\n'},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": " so \n"}]},
        {"role": "assistant", "content": [{**odd, "text": "more"}]},
    ]  # fmt: skip

    conversation = client.conversations.create()
    created = client.conversations.items.create(conversation.id, items=given)

    assert [content(item) for item in dumped(created.data)] == [content(item) for item in given]
    assert dumped(every(client, conversation.id)) == dumped(created.data)
