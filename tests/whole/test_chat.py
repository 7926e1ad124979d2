"""A model with Chat Completions only gives the same shapes as one with the Responses API."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.responder.following import listen, strictly
from tests.told_streams import items_of
from tests.whole.running import MODEL, Running, function, listed, output_of, texts
from tests.whole.test_readme import QUICKSTART, ran
from tests.whole.test_streaming import events_of, names_of

TOOLS = [function("lamps", room="string")]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("chat"), model_api="chat", tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


def shape(value: Any) -> Any:
    """Names, order and kinds of everything in an answer, without what it says."""
    match value:
        case dict():
            # Only the Responses API tells the phase of a message, which may be left out.
            named = ((name, inner) for name, inner in value.items() if name != "phase")
            return [f"{name}: {shape(inner)}" for name, inner in named]
        case list():
            return [shape(inner) for inner in value]
        case _:
            return type(value).__name__


def told(running: Running, *, stream: bool) -> dict[str, Any]:
    """The same talk on any instance: what was answered, and what was kept."""
    with running.http() as http, running.client() as client:
        conversation = client.conversations.create()

        def ask(given: Any, **fields: Any) -> Any:
            where = {} if "previous_response_id" in fields else {"conversation": conversation.id}
            body = {"model": MODEL, "input": given, "stream": stream, **where, **fields}
            return _answer(http.post("/v1/responses", json=body), stream=stream)

        said = ask("Hello there")
        called = ask('[[call lamps {"room": "a"}]] [[call lamps {"room":"b"}]]', tools=TOOLS)
        outputs = [output_of(item["call_id"], "lit") for item in called["response"]["output"]]
        answered = ask(outputs, tools=TOOLS)
        incomplete = ask("[[incomplete]] and so on", instructions="Be brief.", temperature=0.5)
        chained = ask("chained", previous_response_id=said["response"]["id"])
        items = [json.loads(raw) for raw in listed(http, conversation.id)]
        kept = http.get(f"/v1/responses/{said['response']['id']}").json()
        assert kept == said["response"]
        return {
            "said": said,
            "called": called,
            "answered": answered,
            "incomplete": incomplete,
            "chained": chained,
            "items": items,
        }


def _answer(answer: httpx2.Response, *, stream: bool) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    if not stream:
        return {"response": answer.json()}
    events = events_of(answer.content)
    return {"response": events[-1]["response"], "names": names_of(events)}


@pytest.mark.parametrize("stream", [False, True])
def test_answers_and_items_have_the_same_shapes(shared: Running, chat: Running, *, stream: bool):
    by_responses, by_chat = told(shared, stream=stream), told(chat, stream=stream)

    for name in by_responses:
        assert shape(by_chat[name]) == shape(by_responses[name]), name
    for name in ("said", "called", "answered", "incomplete", "chained") if stream else ():
        heard, expected = by_chat[name]["names"], by_responses[name]["names"]
        # Chat does not say where a call ends: parallel ones are all ended together.
        assert heard == expected or (name == "called" and set(heard) == set(expected))
    calls = [item for item in by_chat["items"] if item["type"] == "function_call"]
    assert [item["arguments"] for item in calls] == ['{"room": "a"}', '{"room":"b"}']
    assert (
        by_chat["answered"]["response"]["output"][0]["content"][0]["text"].count("says: lit") == 2
    )
    assert by_chat["incomplete"]["response"]["incomplete_details"] == {
        "reason": "max_output_tokens"
    }
    assert by_chat["said"]["response"]["usage"]["input_tokens"] > 0
    assert {each.path for each in chat.received()} == {"/v1/chat/completions"}


def test_the_quickstart_runs_on_a_chat_model(chat: Running):
    told_text = ran(chat, QUICKSTART.replace("http://127.0.0.1:8080", chat.url))

    assert "You said: Explain why that's funny." in told_text


def test_the_helper_streams_from_a_chat_model(chat: Running):
    with chat.client() as client:
        conversation = client.conversations.create()
        with client.responses.stream(
            model=MODEL, input="helper", conversation=conversation.id
        ) as stream:
            final = stream.get_final_response()
        with client.responses.stream(
            model=MODEL,
            input='[[call lamps {"room":"c"}]]',
            conversation=conversation.id,
            tools=TOOLS,
        ) as stream:
            called = stream.get_final_response()

    with chat.http() as http:
        assert texts(listed(http, conversation.id))[1] == final.output_text
    assert called.output[0].arguments == '{"room":"c"}'


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("trouble", ["[[drop]]", "[[fail]]"])
def test_a_broken_chat_answer_fails_the_turn(chat: Running, trouble: str, *, stream: bool):
    with chat.client() as client, chat.http() as http:
        conversation = client.conversations.create()
        body = {"model": MODEL, "input": trouble, "conversation": conversation.id}
        answer = http.post("/v1/responses", json={**body, "stream": stream})

        assert _answer(answer, stream=stream)["response"]["status"] == "failed"
        assert listed(http, conversation.id) == []
        later = client.responses.create(model=MODEL, input="x", conversation=conversation.id)
        assert later.status == "completed"


MCP = {"type": "mcp", "server_label": "dice", "server_url": "https://x.test"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [*TOOLS, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [MCP]}, "tools[0].type"),
        ({"tools": TOOLS, "tool_choice": {"type": "file_search"}}, "tool_choice"),
    ],
    ids=["web_search", "mcp", "choice"],
)
def test_what_only_a_responses_api_has_is_refused_before_the_model_is_asked(
    chat: Running, given: dict[str, Any], param: str, *, stream: bool
):
    with chat.client() as client, chat.http() as http:
        conversation = client.conversations.create()
        mark = secrets.token_hex(8)
        body = {"model": MODEL, "input": mark, "conversation": conversation.id, "stream": stream}
        refused = http.post("/v1/responses", json={**body, **given})

        assert refused.status_code == 400
        error = refused.json()["error"]
        assert (error["type"], error["param"]) == ("invalid_request_error", param)
        assert "not available through the chat API" in error["message"]
        assert chat.received_with(mark) == []
        assert listed(http, conversation.id) == []
        later = client.responses.create(model=MODEL, input="x", conversation=conversation.id)
        assert later.status == "completed"


SQL = {"type": "custom", "name": "sql"}
ORDERS = {
    "[[refuse I cannot.]]": ["message"],
    "[[reasoning text]] Hi": ["reasoning", "message"],
    "[[call sql SELECT 1]]": ["custom_tool_call"],
    '[[call lamps {"room":"a"}]] [[call sql SELECT 2]]': ["function_call", "custom_tool_call"],
    "[[incomplete content_filter]] [[words 20]]": ["message"],
    "[[keepalive]] [[unknown-event]] [[words 3]]": ["message"],
    "[[no-usage]] Hi": ["message"],
}


@pytest.mark.parametrize("order", ORDERS)
def test_all_a_chat_model_can_say_is_told_in_the_contracts_events_and_kept(
    chat: Running, order: str
):
    with chat.client() as client, chat.http() as http:
        conversation = client.conversations.create()
        body = {"model": MODEL, "input": order, "tools": [*TOOLS, SQL], "stream": True}
        answer = http.post("/v1/responses", json={**body, "conversation": conversation.id})
        events = events_of(answer.content)
        plain = client.responses.create(model=MODEL, input=order, tools=[*TOOLS, SQL])

        strictly(events)
        listen(events)
        kept = [json.loads(raw) for raw in listed(http, conversation.id)][1:]
        assert kept == events[-1]["response"]["output"] == items_of(events)
        assert [item["type"] for item in kept] == ORDERS[order]
        assert [item.type for item in plain.output] == ORDERS[order]


def test_outputs_of_custom_tools_go_back_to_a_chat_model(chat: Running):
    with chat.client() as client:
        conversation = client.conversations.create()
        where = {"model": MODEL, "conversation": conversation.id, "tools": [SQL]}
        called = client.responses.create(input="[[call sql SELECT 1]]", **where)
        (call,) = called.output
        output = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "1 row"}
        answered = client.responses.create(input=[output], **where)

    assert (call.name, call.input) == ("sql", "SELECT 1")
    assert "1 row" in answered.output_text


def test_likelihoods_come_from_a_chat_model_when_they_are_asked_for(chat: Running):
    with chat.client() as client:
        asked = client.responses.create(
            model=MODEL,
            input="[[say Hi]]",
            include=["message.output_text.logprobs"],
            top_logprobs=2,
        )
        unasked = client.responses.create(model=MODEL, input="[[say Hi]]")

    (token,) = asked.output[0].content[0].logprobs
    assert (token.token, token.bytes) == ("Hi", [72, 105])
    assert unasked.output[0].content[0].logprobs == []
