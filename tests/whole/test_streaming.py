import json
import re
from typing import Any

import httpx2
import msgspec
import pytest
from openai import OpenAI
from openai.types.responses import ResponseTextDeltaEvent

from tests.whole.running import MODEL, Running, function, listed, message, texts, until
from tests.whole.slow import raw

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
FRAME = re.compile(rb"event: ([a-z_.]+)\ndata: (\{[^\n]*\})\n\n")

Event = dict[str, Any]


def streamed(http: httpx2.Client, **fields: Any) -> tuple[httpx2.Response, bytes]:
    answer = http.post("/v1/responses", json={"model": MODEL, "stream": True, **fields})
    return answer, answer.content


def events_of(payload: bytes) -> list[Event]:
    """Events of a whole stream, its framing checked byte by byte."""
    assert FRAME.sub(b"", payload) == b""
    found = []
    for name, data in FRAME.findall(payload):
        event = json.loads(data)
        assert next(iter(event)) == "type"
        assert event["type"].encode() == name
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert [event["type"] in TERMINAL for event in found] == [False] * (len(found) - 1) + [True]
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    assert {event["response"]["id"] for event in found if "response" in event} == {
        found[0]["response"]["id"]
    }
    assert found[0]["response"]["output"] == []
    assert found[0]["response"]["status"] == "in_progress"
    return found


def names_of(events: list[Event]) -> list[str]:
    """Names of events, runs of the same one as one."""
    names = [event["type"].removeprefix("response.") for event in events]
    return [name for name, before in zip(names, ["", *names], strict=False) if name != before]


@pytest.fixture
def http(shared: Running):
    with shared.http() as client:
        yield client


@pytest.fixture
def client(shared: Running):
    with shared.client() as sdk:
        yield sdk


def test_a_stream_is_framed_as_the_contract_says(http: httpx2.Client):
    answer, payload = streamed(http, input="[[words 40]] framed \u2028 \n\n data: x")
    events = events_of(payload)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"].startswith("req_")
    assert b"[DONE]" not in payload
    assert b"\nid:" not in payload
    assert b"\nretry:" not in payload
    assert names_of(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert len(deltas) == 40
    assert all(
        list(event) == ["type", *sorted(set(event) - {"type"})]
        for event in events
        if "response" not in event
    )
    item = events[-1]["response"]["output"][0]
    assert {event["item_id"] for event in deltas} == {item["id"]}
    assert "".join(event["delta"] for event in deltas) == item["content"][0]["text"]
    assert events[-2]["item"] == item
    assert "obfuscation" not in deltas[0]


def test_a_request_written_in_lines_is_answered_in_whole_frames(http: httpx2.Client):
    body = {"model": MODEL, "stream": True, "input": "in lines", "tools": [function("look_up")]}
    answer = http.post("/v1/responses", content=json.dumps(body, indent=2))
    first, *_, last = events_of(answer.content)
    assert first["response"]["tools"] == last["response"]["tools"]
    assert last["response"]["tools"][0]["name"] == "look_up"


def test_what_was_streamed_is_what_is_retrieved_and_what_joins(http: httpx2.Client, client: OpenAI):
    conversation = client.conversations.create()

    with client.responses.stream(
        model=MODEL, input="streamed through the helper", conversation=conversation.id
    ) as stream:
        heard = "".join(each.delta for each in stream if isinstance(each, ResponseTextDeltaEvent))
        final = stream.get_final_response()
    _, payload = streamed(http, input="streamed as bytes", conversation=conversation.id)

    assert final.output_text == heard
    assert client.responses.retrieve(final.id).output_text == heard
    terminal = FRAME.findall(payload)[-1][1]
    told = msgspec.json.decode(terminal, type=dict[str, msgspec.Raw])["response"]
    response = json.loads(bytes(told))
    assert http.get(f"/v1/responses/{response['id']}").content == bytes(told)
    outputs = msgspec.json.decode(bytes(told), type=dict[str, msgspec.Raw])["output"]
    joined = listed(http, conversation.id)
    assert msgspec.json.decode(bytes(outputs), type=list[msgspec.Raw]) == [msgspec.Raw(joined[3])]
    assert [json.loads(raw)["role"] for raw in joined] == ["user", "assistant"] * 2
    assert response["conversation"] == {"id": conversation.id}
    assert response["usage"]["input_tokens_details"] == {
        "cache_write_tokens": 0,
        "cached_tokens": 0,
    }


@pytest.mark.parametrize("frames", [0, 1, 6])
def test_the_turn_of_a_client_that_leaves_is_finished(shared: Running, frames: int):
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create()
        body = {
            "model": MODEL,
            "input": f"[[gate left-{frames} 3]] [[words 25]] left after {frames}",
            "conversation": conversation.id,
            "stream": True,
        }
        with http.stream("POST", "/v1/responses", json=body) as answer:
            lines = answer.iter_lines()
            while frames and not next(lines).startswith("event: response.output_text.delta"):
                pass
            for _ in range(frames):
                next(lines)
        shared.open_gate(f"left-{frames}")
        items = until(lambda: listed(http, conversation.id))
        turn = shared.fold(conversation.id).state.turns.upwards(0)
        (response,) = [http.get(f"/v1/responses/{each.id}").json() for each in turn]

        assert [json.loads(raw)["status"] for raw in items] == ["completed"] * 2
        assert response["output"] == [json.loads(items[1])]
        assert response["status"] == "completed"
        assert len(texts(items)[1].split()) == 25


def test_a_plain_client_that_leaves_has_its_turn_finished(shared: Running):
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create()
        with raw(shared.url) as one:
            one.ask("[[gate gone]] gone", conversation=conversation.id, stream=False)
            until(lambda: shared.received_with("gone"))
        shared.open_gate("gone")

        assert len(until(lambda: listed(http, conversation.id))) == 2


def test_an_upstream_refusal_before_the_first_event_is_no_stream(
    http: httpx2.Client, client: OpenAI
):
    conversation = client.conversations.create()
    for status in (400, 422):
        answer, _ = streamed(http, input=f"[[error {status}]]", conversation=conversation.id)

        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json()["error"]) == ["message", "type", "param", "code"]
    assert listed(http, conversation.id) == []


@pytest.mark.parametrize("trouble", ["[[fail]]", "[[drop]]", "[[words 30]] [[drop]]"])
def test_a_stream_the_model_breaks_ends_as_failed(
    http: httpx2.Client, client: OpenAI, trouble: str
):
    conversation = client.conversations.create(items=[message("before", "developer")])

    answer, payload = streamed(http, input=f"{trouble} sorry", conversation=conversation.id)
    events = events_of(payload)
    failed = events[-1]["response"]

    assert answer.status_code == 200
    assert events[-1]["type"] == "response.failed"
    assert failed["status"] == "failed"
    assert set(failed["error"]) == {"code", "message"}
    assert failed["error"]["code"] == "server_error"
    assert len(listed(http, conversation.id)) == 1
    assert http.get(f"/v1/responses/{failed['id']}").json() == failed
    later = client.responses.create(model=MODEL, input="again", conversation=conversation.id)
    assert later.output_text.endswith("You said: again.")
    assert len(listed(http, conversation.id)) == 3


def test_a_stream_of_a_model_that_cannot_be_reached_begins_as_every_stream(http: httpx2.Client):
    answer, payload = streamed(http, input="[[error 501]]")

    assert answer.status_code == 200
    assert events_of(payload)[-1]["response"]["error"]["code"] == "server_error"


def test_an_incomplete_stream_is_appended(http: httpx2.Client, client: OpenAI):
    conversation = client.conversations.create()

    _, payload = streamed(http, input="[[incomplete]] half of it", conversation=conversation.id)
    events = events_of(payload)
    response = events[-1]["response"]

    assert events[-1]["type"] == "response.incomplete"
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["completed_at"] is None
    assert json.loads(listed(http, conversation.id)[1]) == response["output"][0]


@pytest.mark.parametrize("trouble", ["[[fail]]", "[[drop]]"])
def test_a_plain_turn_the_model_breaks_ends_as_failed(
    http: httpx2.Client, client: OpenAI, trouble: str
):
    conversation = client.conversations.create()

    failed = client.responses.create(model=MODEL, input=trouble, conversation=conversation.id)

    assert failed.status == "failed"
    assert failed.error
    assert failed.output == []
    assert listed(http, conversation.id) == []
    later = client.responses.create(model=MODEL, input="again", conversation=conversation.id)
    assert later.status == "completed"


def test_an_incomplete_plain_turn_is_appended(http: httpx2.Client, client: OpenAI):
    conversation = client.conversations.create()

    half = client.responses.create(
        model=MODEL, input="[[words 90]]", max_output_tokens=16, conversation=conversation.id
    )

    assert (half.status, half.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert len(listed(http, conversation.id)) == 2


def test_a_rate_limit_upstream_is_a_429_with_its_wait(http: httpx2.Client):
    answer = http.post("/v1/responses", json={"model": MODEL, "input": "[[error 429]]"})

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.json()["error"]["type"] == "requests"


def test_calls_are_streamed_piece_by_piece(http: httpx2.Client):
    arguments = '{"city": "Bad Säckingen", "deep": [1, {"a": null}]}'
    _, payload = streamed(
        http, input=f"[[call weather {arguments}]]", tools=[function("weather", city="string")]
    )
    events = events_of(payload)

    assert names_of(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    deltas = [e["delta"] for e in events if e["type"].endswith("arguments.delta")]
    (call,) = events[-1]["response"]["output"]
    assert "".join(deltas) == call["arguments"] == arguments
    assert call["id"].startswith("fc_")
    assert {e["item_id"] for e in events if "item_id" in e} == {call["id"]}


def test_reasoning_is_streamed_and_joins(http: httpx2.Client, client: OpenAI):
    conversation = client.conversations.create()
    answer = http.post(
        "/v1/responses",
        json={
            "model": "simulator-reasoning",
            "input": "think",
            "stream": True,
            "conversation": conversation.id,
            "include": ["reasoning.encrypted_content"],
        },
    )
    events = events_of(answer.content)
    second = client.responses.create(
        model="simulator-reasoning", input="more", conversation=conversation.id
    )

    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message"]
    kinds = [json.loads(raw)["type"] for raw in listed(http, conversation.id)]
    assert kinds == ["message", "reasoning", "message"] * 2
    assert second.usage.output_tokens_details.reasoning_tokens > 0


def test_deltas_are_padded_only_when_that_is_asked_for(shared):
    with shared.client() as client:
        given = {"model": MODEL, "input": "Hi [[words 20]]", "background": True, "stream": True}
        padded = list(
            client.responses.create(**given, stream_options={"include_obfuscation": True})
        )
        bare = list(client.responses.create(**given))
        again = list(
            client.responses.retrieve(bare[0].response.id, stream=True, include_obfuscation=True)
        )
    for events, wanted in ((padded, True), (bare, False), (again, True)):
        deltas = [event for event in events if event.type.endswith(".delta")]
        assert deltas
        for event in deltas:
            padding = (event.model_extra or {}).get("obfuscation")
            assert (padding is not None) == wanted
            assert padding is None or (len(event.delta) + len(padding)) % 16 == 0
        assert events[-1].type == "response.completed"
