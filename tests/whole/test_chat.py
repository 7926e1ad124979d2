"""A model with Chat Completions only gives the same shapes as one with the Responses API."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

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
