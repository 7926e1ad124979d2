"""What a server that is almost compatible gets wrong, as an application on the plain SDK sees it.

The SDK is as it comes, with its own retries. Elsewhere: items in all their forms in
``test_sdk_round_trips``; what bytes alone can show, as framing and the first snapshot of a stream,
in ``test_streaming``; wordings of refusals in ``test_bad_input``; turns that are appended whole or
not at all in ``test_killed`` and ``test_lost_processes``.
"""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.conversations import Conversation, ConversationItem
from openai.types.responses import Response
from pydantic import TypeAdapter

from tests.whole.running import (
    MODEL,
    ROOT,
    Running,
    another_gateway,
    function,
    message,
    output_of,
    until,
)

REASONING = "simulator-reasoning"
LAMPS = function("lamps", room="string")
SAMPLES = ROOT / "tests/contract/samples"
RETRIES = "x-stainless-retry-count"

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


def test_a_locked_conversation_is_not_asked_again_by_the_sdk(shared: Running, client: OpenAI):
    conversation = client.conversations.create().id
    orders = {"model": MODEL, "conversation": conversation}
    busy = client.responses.create(input="[[hang]] first-locked", background=True, **orders)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(input="second-locked", **orders)
    client.responses.cancel(busy.id)
    later = client.responses.create(input="third-locked", **orders)

    assert (refused.value.code, refused.value.param) == ("conversation_locked", "conversation")
    assert refused.value.response.request.headers[RETRIES] == "0"
    assert shared.received_with("second-locked") == []
    assert later.output_text.startswith("I have read 1 item ")


def test_a_listing_is_newest_first_and_its_pages_lead_to_each_other(client: OpenAI):
    conversation = client.conversations.create(items=[message(f"n{n}") for n in range(20)]).id
    client.conversations.items.create(conversation, items=[message("n20")])

    page = client.conversations.items.list(conversation)
    rest = page.get_next_page()
    told = client.conversations.items.with_raw_response.list(
        conversation, include=["message.output_text.logprobs", "reasoning.encrypted_content"]
    )
    empty = client.conversations.items.list(client.conversations.create().id)

    assert [item.content[0].text for item in page.data] == [f"n{n}" for n in range(20, 0, -1)]
    assert (page.has_more, page.last_id) == (True, page.data[-1].id)
    assert [item.content[0].text for item in rest.data] == ["n0"]
    assert (rest.has_more, rest.has_next_page()) == (False, False)
    assert "include%5B%5D=" in str(told.http_response.url)
    assert json.loads(told.content)["first_id"] == page.data[0].id
    assert (empty.data, empty.has_more, list(empty)) == ([], False, [])
    for wrong in (0, 101):
        with pytest.raises(openai.BadRequestError) as refused:
            client.conversations.items.list(conversation, limit=wrong)
        assert refused.value.param == "limit"


def test_signs_of_life_do_not_disturb_the_sdk(shared: Running):
    with another_gateway(shared, keep_alive_s="0.02") as url:
        body = {"model": MODEL, "input": "[[delay 0.2]] [[words 4]] alive", "stream": True}
        with shared.http(url) as http:
            assert http.post("/v1/responses", json=body).text.count(": keep-alive\n\n") > 5
        with (
            shared.client(url) as client,
            client.responses.stream(model=MODEL, input=body["input"]) as stream,
        ):
            names = {event.type for event in stream}
            assert len(stream.get_final_response().output_text.split()) == 4

    assert {name for name in names if not name.startswith("response.")} == set()


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({"model": MODEL, "input": "in words"}, ["message"]),
        ({"model": MODEL, "input": "[[say \n]]"}, ["message"]),
        ({"model": REASONING, "input": "thoughtfully"}, ["reasoning", "message"]),
        (
            {"model": REASONING, "input": "[[call lamps]] [[call lamps]]", "tools": [LAMPS]},
            ["reasoning", "function_call", "function_call"],
        ),
    ],
    ids=["text", "blank", "reasoning", "calls"],
)
def test_the_helper_gathers_what_the_response_holds(
    client: OpenAI, asked: dict[str, Any], kinds: list[str]
):
    with client.responses.stream(**asked) as stream:
        ids = {event.response.id for event in stream if hasattr(event, "response")}
        final = stream.get_final_response()

    kept = client.responses.retrieve(final.id)
    assert ids == {kept.id}
    assert [item.type for item in final.output] == kinds
    assert [item.id for item in final.output] == [item.id for item in kept.output]
    assert final.output_text == kept.output_text
    assert ("message" in kinds) == bool(final.output_text)


@pytest.mark.parametrize(("order", "status"), [("[[fail]]", "failed"), ("[[incomplete]]", None)])
def test_an_end_that_is_no_success_raises_nothing(client: OpenAI, order: str, status: str | None):
    said = f"{order} [[words 20]]"
    plain = client.responses.create(model=MODEL, input=said)
    events = list(client.responses.create(model=MODEL, input=said, stream=True))

    assert plain.status == (status or "incomplete")
    assert events[-1].type == f"response.{plain.status}"
    assert events[-1].response.status == plain.status
    assert (events[-1].response.error is None) == (plain.error is None) == (status is None)
    assert client.responses.retrieve(events[-1].response.id).status == plain.status


def test_a_call_whose_stream_was_left_can_be_answered(client: OpenAI):
    conversation = client.conversations.create().id
    said = f"[[delay 0.02]] [[call lamps {json.dumps({'room': 'a' * 200})}]]"
    with client.responses.create(
        model=MODEL, input=said, tools=[LAMPS], conversation=conversation, stream=True
    ) as stream:
        call_id = next(
            event.item.call_id for event in stream if event.type == "response.output_item.added"
        )

    call = until(lambda: every(client, conversation))[-1]
    answer = client.responses.create(
        model=MODEL, input=[output_of(call_id, "lit")], tools=[LAMPS], conversation=conversation
    )

    assert (call.type, call.call_id) == ("function_call", call_id)
    assert "lamps says: lit." in answer.output_text
    assert len(every(client, conversation)) == 4


def test_what_is_unknown_is_404_but_an_unknown_parent_is_400(client: OpenAI):
    none = {
        "conversation": f"conv_{0:048}",
        "previous_response_id": f"resp_{0:050}",
    }

    with pytest.raises(openai.NotFoundError) as conversation:
        client.responses.create(model=MODEL, input="x", conversation=none["conversation"])
    with pytest.raises(openai.BadRequestError) as parent:
        client.responses.create(
            model=MODEL, input="x", previous_response_id=none["previous_response_id"]
        )
    with pytest.raises(openai.NotFoundError) as item:
        client.responses.create(
            model=MODEL, input=[message("x"), {"id": "rs_none", "type": "item_reference"}]
        )

    assert (conversation.value.code, conversation.value.param) == (None, None)
    assert parent.value.code == "previous_response_not_found"
    assert parent.value.param == "previous_response_id"
    assert (item.value.code, item.value.param) == (None, "input")


@pytest.mark.parametrize("chained", [False, True])
def test_nothing_said_for_one_response_is_said_for_the_next(
    shared: Running, client: OpenAI, *, chained: bool
):
    marker = f"once-{chained}"
    where = {} if chained else {"conversation": client.conversations.create().id}
    first = client.responses.create(
        model=REASONING,
        input=marker,
        instructions="Only this once.",
        tools=[LAMPS],
        tool_choice="auto",
        temperature=0.5,
        top_p=0.5,
        max_output_tokens=500,
        parallel_tool_calls=False,
        metadata={"only": "once"},
        **where,
    )
    second = client.responses.create(
        model=MODEL, input="next", **({"previous_response_id": first.id} if chained else where)
    )
    sent = newest(shared, marker)

    assert [item["role"] for item in sent["input"] if "role" in item] == [
        "user", "assistant", "user",
    ]  # fmt: skip
    assert not sent.keys() & {
        "instructions", "tools", "tool_choice", "temperature", "top_p", "max_output_tokens",
        "parallel_tool_calls", "metadata",
    }  # fmt: skip
    assert (second.model, second.instructions, second.tools) == (MODEL, None, [])
    assert (second.temperature, second.top_p, second.parallel_tool_calls) == (1.0, 1.0, True)
    assert (second.max_output_tokens, second.metadata) == (None, {})
    assert (first.instructions, first.metadata) == ("Only this once.", {"only": "once"})


def test_usage_is_whole_however_a_response_is_had(client: OpenAI):
    conversation = client.conversations.create().id
    asked = {"model": REASONING, "input": "counted", "tools": [LAMPS]}
    plain = client.responses.create(conversation=conversation, **asked)
    with client.responses.stream(**asked) as stream:
        streamed = stream.get_final_response()
    cut = client.responses.create(model=MODEL, input="[[words 90]]", max_output_tokens=16)

    for response in (plain, streamed, cut, client.responses.retrieve(plain.id)):
        usage = response.to_dict()["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
        assert usage["input_tokens_details"].keys() == {"cached_tokens", "cache_write_tokens"}
        assert usage["output_tokens_details"].keys() == {"reasoning_tokens"}
    assert plain.usage.output_tokens_details.reasoning_tokens > 0


def test_bodies_that_the_sdk_does_not_send_or_read_are_not_missed(client: OpenAI):
    conversation = client.conversations.create(items=[message("x")])
    (item,) = every(client, conversation.id)
    response = client.responses.create(model=MODEL, input="y", conversation=conversation.id)

    assert client.responses.delete(response.id) is None
    left = client.conversations.items.delete(item.id, conversation_id=conversation.id)
    gone = client.conversations.delete(conversation.id)

    assert left == conversation
    assert (gone.id, gone.object, gone.deleted) == (
        conversation.id, "conversation.deleted", True,
    )  # fmt: skip


def test_calls_beside_a_response_are_not_taken_for_one(client: OpenAI):
    counted = client.responses.input_tokens.count(model=MODEL, input="x")
    compacted = client.responses.compact(model=MODEL, input="x")

    assert (counted.object, counted.input_tokens > 0) == ("response.input_tokens", True)
    assert compacted.object == "response.compaction"
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    for name in ("compact", "input_tokens"):
        with pytest.raises(openai.APIStatusError) as refused:
            client.responses.retrieve(name)
        assert refused.value.status_code in {400, 404}
        with pytest.raises(openai.APIStatusError) as refused:
            client.responses.delete(name)
        assert refused.value.status_code in {400, 404}


def test_answers_satisfy_the_types_of_a_strict_client(shared: Running, client: OpenAI):
    conversation = client.conversations.create(items=[message("strict")]).id
    made = [
        client.responses.create(model=REASONING, input="a", conversation=conversation).id,
        client.responses.create(model=MODEL, input="[[call lamps]]", tools=[LAMPS]).id,
        client.responses.create(model=MODEL, input="[[incomplete]] [[words 9]]").id,
        client.responses.create(model=MODEL, input="[[fail]]").id,
    ]
    sample = json.loads((SAMPLES / "response_completed.json").read_bytes())
    with shared.http() as http:
        responses = [http.get(f"/v1/responses/{each}").json() for each in made]
        told = http.get(f"/v1/conversations/{conversation}").json()
        page = http.get(f"/v1/conversations/{conversation}/items").json()

    for response in responses:
        Response.model_validate(response)
        assert list(response) == list(sample)
        assert isinstance(response["created_at"], int)
        assert {name for name, value in response.items() if value is None} <= {
            name for name, value in sample.items() if value is None
        } | {"conversation", "completed_at", "usage"}
    Conversation.model_validate(told)
    assert [type(value) for value in told.values()] == [str, str, int, dict]
    assert told["metadata"] == {}
    for item in page["data"]:
        TypeAdapter(ConversationItem).validate_python(item)
    assert len(page["data"]) == 4


def test_parameters_of_a_later_sdk_are_passed_over(client: OpenAI):
    later = {"extra_body": {"not_yet_known": {"a": [1]}}, "extra_query": {"not_yet": "known"}}

    created = client.conversations.create(**later)
    response = client.responses.create(
        model=MODEL,
        input=[{**message("x"), "new_field": {"a": 1}}],
        conversation={"id": created.id, "new": True},
        **later,
    )
    items = client.conversations.items.list(created.id, **later)

    assert response.output_text.startswith("I have read 1 item ")
    assert len(items.data) == 2
