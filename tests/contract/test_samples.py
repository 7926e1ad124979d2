"""Every sample of the contract, taken or given by a running server.

Requests are sent as they are, with ids of this server in place of the recorded ones. Answers must
have the sample's shape - the same keys in the same order, values of the same kinds - and pass the
SDK's own types, strictly; streams pass the SDK's own state machine.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.whole.running import Running, until

FOLDER = Path(__file__).parent / "samples"
MANIFEST = {row["file"]: row for row in json.loads((FOLDER / "_manifest.json").read_text())}
MODEL = "gpt-5.6-terra"
WEATHER = {
    "type": "function",
    "description": "Weather by city",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def sample(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def sdk_type(name: str) -> Any:
    module, _, kind = MANIFEST[f"{name}.json"]["sdk_type"].partition(":")
    return getattr(importlib.import_module(module), kind)


def shape(value: Any) -> Any:
    """Keys in their order and kinds of values; what they say is left out, words of types kept."""
    match value:
        case dict():
            return [(key, _worded(key, inner)) for key, inner in value.items()]
        case list():
            return [shape(inner) for inner in value]
        case _:
            return type(value).__name__


def _worded(key: str, value: Any) -> Any:
    fixed = {"type", "object", "status", "role", "reason", "phase", "service_tier", "truncation"}
    if key in fixed and isinstance(value, str):
        return value
    # Free maps and schemas are the client's own.
    return "free" if key in {"metadata", "parameters"} else shape(value)


def without(item: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != key}


def strict(name: str, body: Any) -> None:
    """``body`` passes the SDK's type of a sample and comes out of it as it went in."""
    adapter = TypeAdapter(sdk_type(name))
    value = adapter.validate_json(json.dumps(body), strict=True)
    assert adapter.dump_python(value, mode="json", exclude_unset=True, by_alias=True) == body


def conforms(name: str, body: Any) -> None:
    """``body`` is what the sample ``name`` shows, said of something else."""
    assert shape(body) == shape(sample(name))
    if "sdk_type" in MANIFEST[f"{name}.json"]:
        strict(name, body)


@pytest.fixture
def api(shared: Running) -> Iterator[OpenAI]:
    with shared.client() as client:
        yield client


def posted(api: OpenAI, path: str, body: Any) -> Any:
    return api.post(path, cast_to=object, body=body)


def fetched(api: OpenAI, path: str) -> Any:
    return api.get(path, cast_to=object)


def conversation_of(api: OpenAI) -> str:
    return api.conversations.create().id


# Conversations and their items


@pytest.mark.parametrize("which", ["empty", "agents_sdk", "full"])
def test_a_conversation_is_created_of_every_recorded_body(api, which):
    body = sample(f"conversation_create_request_{which}")
    created = posted(api, "/conversations", body)
    conforms("conversation_with_metadata" if body.get("metadata") else "conversation", created)
    assert created["metadata"] == body.get("metadata", {})
    assert fetched(api, f"/conversations/{created['id']}") == created
    listed = fetched(api, f"/conversations/{created['id']}/items")
    assert len(listed["data"]) == len(body.get("items") or [])


def test_a_conversation_is_updated_and_deleted_as_recorded(api):
    conversation_id = conversation_of(api)
    body = sample("conversation_update_request")
    updated = posted(api, f"/conversations/{conversation_id}", body)
    conforms("conversation_with_metadata", updated)
    assert updated["metadata"] == body["metadata"]
    deleted = api.delete(f"/conversations/{conversation_id}", cast_to=object)
    conforms("conversation_deleted", deleted)


def test_items_are_created_listed_retrieved_and_deleted_as_recorded(api):
    conversation_id = conversation_of(api)
    path = f"/conversations/{conversation_id}/items"
    conforms("item_list_empty", fetched(api, path))
    body = sample("items_create_request")
    sent = posted(api, path, body)["data"]
    assert [item["content"] for item in sent] == [item["content"] for item in body["items"]]
    # The list as it was recorded shows items that a model had written before.
    bare = [without(item, "id") for item in sample("item_list_created")["data"]]
    created = posted(api, path, {"items": bare})
    conforms("item_list_created", created)
    page = fetched(api, f"{path}?limit=1")
    conforms("item_list_desc_page1", page)
    assert page["data"] == created["data"][-1:]
    item = fetched(api, f"{path}/{created['data'][0]['id']}")
    conforms("item_get", item)
    deleted = api.delete(f"{path}/{item['id']}", cast_to=object)
    # The newest SDK types a Conversation; the shape recorded in 2025 is not given any more.
    conforms("conversation", deleted)
    assert set(sample("conversation_item_deleted_2025_trace")) & set(deleted) == {"id", "object"}


def test_every_stored_item_is_taken_and_given_back_as_it_is(api):
    variants = sample("items_all_variants")
    conversation_id = conversation_of(api)
    path = f"/conversations/{conversation_id}/items"
    ours = _sealed_by_us(api)
    sent = [ours if item["type"] == "compaction" else item for item in variants]
    for at in range(0, len(sent), 20):
        posted(api, path, {"items": sent[at : at + 20]})
    listed = fetched(api, f"{path}?order=asc&limit=100")
    assert listed["data"] == sent
    for item in listed["data"]:
        strict("items_all_variants", item)
    strict("item_list_all_variants", listed)
    assert [key for key, _ in shape(listed)] == [
        key for key, _ in shape(sample("item_list_all_variants"))
    ]


def test_the_smallest_form_of_every_item_is_taken(api):
    conversation_id = conversation_of(api)
    path = f"/conversations/{conversation_id}/items"
    blob = _sealed_by_us(api)["encrypted_content"]
    for item in sample("input_items_all_variants_minimal"):
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        if kind == "compaction_trigger":
            # Never stored: it orders a compaction, at the end of a turn's input.
            continue
        sent = item
        if kind == "item_reference":
            known = api.responses.create(model=MODEL, input="Hi").output[0].id
            sent = {**item, "id": known}
        if kind == "compaction":
            sent = {**item, "encrypted_content": blob}
        created = posted(api, path, {"items": [sent]})
        for stored in created["data"]:
            strict("items_all_variants", stored)


def _sealed_by_us(api: OpenAI) -> dict[str, Any]:
    """A compaction item of this server: another's cannot be opened."""
    compacted = posted(api, "/responses/compact", sample("compact_request_by_input"))
    item: dict[str, Any] = next(
        each for each in compacted["output"] if each["type"] == "compaction"
    )
    return item


# Responses


def test_a_plain_turn_is_answered_as_recorded(api):
    response = posted(api, "/responses", sample("response_create_request_minimal"))
    conforms("response_completed", response)
    assert fetched(api, f"/responses/{response['id']}") == response
    listed = fetched(api, f"/responses/{response['id']}/input_items")
    conforms("response_input_items", listed)
    conforms("response_deleted", api.delete(f"/responses/{response['id']}", cast_to=object))


@pytest.mark.parametrize("which", ["conversation", "conversation_object"])
def test_a_turn_in_a_conversation_is_answered_as_recorded(api, which):
    conversation_id = conversation_of(api)
    body = sample(f"response_create_request_{which}")
    body["conversation"] = (
        {"id": conversation_id} if isinstance(body["conversation"], dict) else conversation_id
    )
    response = posted(api, "/responses", body)
    conforms("response_completed_in_conversation", response)
    assert response["conversation"] == {"id": conversation_id}


def test_a_tool_is_called_and_answered_in_a_chain_as_recorded(api):
    first = posted(
        api,
        "/responses",
        {"model": "simulator-reasoning", "input": "get_weather in Oslo", "tools": [WEATHER]},
    )
    strict("response_function_call", first)
    first["output"][0]["summary"] = []
    conforms("response_function_call", first)
    body = sample("response_create_request_chain")
    body["previous_response_id"] = first["id"]
    body["input"][0]["call_id"] = first["output"][-1]["call_id"]
    child = posted(api, "/responses", body)
    expected = sample("response_completed_chained")
    assert shape({**child, "tools": []}) == shape(expected)
    strict("response_completed_chained", child)
    assert child["previous_response_id"] == first["id"]


def test_an_answer_cut_short_and_one_that_failed_are_told_as_recorded(api):
    cut = posted(
        api, "/responses", {"model": MODEL, "input": "Hi [[words 90]]", "max_output_tokens": 16}
    )
    assert shape({**cut, "max_output_tokens": 16}) == shape(
        {**sample("response_incomplete_max_output_tokens"), "max_output_tokens": 16}
    )
    strict("response_incomplete_max_output_tokens", cut)
    failed = posted(api, "/responses", {"model": MODEL, "input": "Hi [[fail]]"})
    conforms("response_failed", failed)


def test_a_turn_without_any_state_is_answered_as_recorded(api):
    body = sample("response_create_request_stateless_zdr")
    response = posted(api, "/responses", body)
    assert response["store"] is False
    strict("response_completed", response)
    with pytest.raises(openai.NotFoundError):
        fetched(api, f"/responses/{response['id']}")


def test_a_turn_in_the_background_is_queued_polled_and_cancelled_as_recorded(api):
    begun = posted(
        api,
        "/responses",
        {"model": MODEL, "input": "Hi [[hang]]", "background": True},
    )
    conforms("response_background_queued", begun)
    polled = until(
        lambda: (
            (found := fetched(api, f"/responses/{begun['id']}"))["status"] == "in_progress"
            and found
        )
    )
    conforms("response_background_in_progress", polled)
    cancelled = api.post(f"/responses/{begun['id']}/cancel", cast_to=object)
    conforms("response_cancelled", cancelled)


LONG = " ".join(f"fact {n} is ORD-{n}" for n in range(600))


def managed(api: OpenAI, state: str, *, store: bool) -> dict[str, Any]:
    """The recorded request that is compacted in its turn, behind a long talk kept as ``state``."""
    body = sample("response_create_request_auto_compaction") | {"store": store}
    followed = body.pop("previous_response_id")
    assert followed.startswith("resp_")
    if state == "array":
        said = {"role": "assistant", "content": "I see"}
        body["input"] = [_said(LONG), said, _said(body["input"])]
        return body
    asked = {"model": MODEL, "input": LONG}
    if state == "conversation":
        asked["conversation"] = body["conversation"] = conversation_of(api)
    parent = posted(api, "/responses", asked)
    return body if state == "conversation" else body | {"previous_response_id": parent["id"]}


HOW = pytest.mark.parametrize(
    ("state", "store"),
    [
        *(("chain", True), ("chain", False)),
        *(("conversation", True), ("conversation", False)),
        *(("array", True), ("array", False)),
    ],
)


@HOW
def test_a_window_is_compacted_in_a_turn_as_recorded(api, state, store):
    body = managed(api, state, store=store)
    assert len(posted(api, "/responses", body)["output"]) == 1
    if state == "conversation":
        body = managed(api, state, store=store)
    body["context_management"][0]["compact_threshold"] = 1000
    response = posted(api, "/responses", body)
    expected = sample("response_auto_compacted") | {
        "previous_response_id": None,
        "conversation": response["conversation"],
    }
    assert shape({**response, "previous_response_id": None}) == shape(expected)
    strict("response_auto_compacted", response)
    _kept_as_asked(api, response, store=store)


def _kept_as_asked(api: OpenAI, response: dict[str, Any], *, store: bool) -> None:
    """It can be read again, or not; what a client sends on of it is taken in any case."""
    if store:
        assert fetched(api, f"/responses/{response['id']}") == response
    else:
        with pytest.raises(openai.NotFoundError):
            fetched(api, f"/responses/{response['id']}")
    sent = [*response["output"], _said("Go on")]
    answer = posted(api, "/responses", {"model": MODEL, "input": sent, "store": store})
    assert answer["status"] == "completed"


@pytest.mark.parametrize("which", ["by_previous", "by_input"])
def test_a_window_is_compacted_as_recorded(api, which):
    body = sample(f"compact_request_{which}")
    if "previous_response_id" in body:
        parent = posted(api, "/responses", {"model": MODEL, "input": "Create a landing page"})
        body["previous_response_id"] = parent["id"]
    compacted = posted(api, "/responses/compact", body)
    conforms_as_built("compact_response", compacted)
    answer = posted(
        api, "/responses", {"model": MODEL, "input": [*compacted["output"], _said("Go on")]}
    )
    assert answer["status"] == "completed"


def conforms_as_built(name: str, body: Any) -> None:
    """For shapes the SDK builds without checking, since its own class does not describe them."""
    assert shape(body) == shape(sample(name))
    built = construct_type(type_=sdk_type(name), value=body)
    assert built.model_dump(mode="json", exclude_unset=True, by_alias=True, warnings=False) == body


def _said(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_the_input_of_a_turn_is_counted_as_recorded(api):
    body = sample("input_tokens_request")
    body["conversation"] = conversation_of(api)
    counted = posted(api, "/responses/input_tokens", body)
    conforms("input_tokens_response", counted)
    assert counted["input_tokens"] > 0


def test_models_are_listed_and_retrieved_as_recorded(api):
    listed = fetched(api, "/models")
    assert {tuple(model) for model in listed["data"]} == {
        tuple(model) for model in sample("models_list")["data"]
    }
    conforms("model", fetched(api, f"/models/{listed['data'][0]['id']}"))


# Streams


def told(api: OpenAI, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Events of a stream as they came."""
    return list(_events(api, body))


def _events(api: OpenAI, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    # The recorded deltas are padded, which is done here for who asks for it.
    asked = {**body, "stream": True, "stream_options": {"include_obfuscation": True}}
    with api.responses.with_streaming_response.create(**asked) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Their types, deltas that follow each other and repeated signs of progress told once."""
    found: list[str] = []
    for event in events:
        repeats = event["type"].endswith((".delta", ".compacting"))
        if not (found and found[-1] == event["type"] and repeats):
            found.append(event["type"])
    return found


def state_machine(events: list[dict[str, Any]]) -> Any:
    """The response the SDK makes of a stream; raises where it would."""
    state = ResponseStreamState(text_format=openai.omit, input_tools=openai.omit)
    for event in events:
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))
    return state._completed_response


def same_stream(name: str, events: list[dict[str, Any]]) -> None:
    """The sample's events in the sample's order, each of the sample's shape, strictly typed."""
    expected = sample(name)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert kinds(events) == kinds(expected)
    shown = {event["type"]: event for event in expected}
    for event in events:
        strict(name, event)
        assert sorted(event) == sorted(shown[event["type"]])
        assert next(iter(event)) == "type"
    completed = state_machine(events)
    ended_well = expected[-1]["type"] == "response.completed"
    assert (completed is not None) == ended_well


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("stream_text", {"input": "Hello!"}),
        (
            "stream_reasoning_function_call",
            {"input": "get_weather in Oslo", "tools": [WEATHER], "model": "simulator-reasoning"},
        ),
        ("stream_incomplete", {"input": "Hi [[words 90]]", "max_output_tokens": 16}),
        ("stream_refusal", {"input": "Hi [[refuse]]"}),
        (
            "stream_custom_tool_call",
            {
                "input": "run_sql please",
                "tools": [{"type": "custom", "name": "run_sql", "description": "Runs SQL"}],
            },
        ),
    ],
)
def test_a_stream_is_told_as_recorded(api, name, body):
    same_stream(name, told(api, {"model": MODEL, **body}))


def test_a_failed_stream_ends_with_its_terminal_event_alone(api):
    """The recorded flat and nested error events are not told: the nested one hides the end."""
    events = told(api, {"model": MODEL, "input": "Hi [[error-event nested]]"})
    assert events[-1]["type"] == "response.failed"
    assert {"error"} & set(kinds(events)) == set()
    for name in ("stream_failed_flat_error", "stream_failed_nested_error_live_capture"):
        assert "error" in kinds(sample(name))
    expected = sample("stream_failed_terminal_only")
    assert kinds(events)[:2] == kinds(expected)[:2]
    strict("stream_failed_terminal_only", events[-1])
    assert sorted(events[-1]) == sorted(expected[-1])
    assert state_machine(events) is None


def test_a_stream_in_the_background_is_told_as_recorded(api):
    body = sample("response_create_request_background_stream")
    same_stream("stream_background_completed", told(api, body))


def test_a_cancelled_stream_is_told_as_recorded(api):
    asked = {"model": MODEL, "input": "Hi [[hang 8]]", "background": True}
    events = []
    for event in _events(api, asked):
        events.append(event)
        if len(events) == 8:
            api.responses.cancel(events[0]["response"]["id"])
    same_stream("stream_background_cancelled", events)
    assert events[-1]["response"]["status"] == "cancelled"


@HOW
def test_a_stream_with_a_compaction_is_told_as_recorded(api, state, store):
    body = managed(api, state, store=store)
    body["context_management"][0]["compact_threshold"] = 1000
    events = told(api, body)
    same_stream("stream_auto_compaction", events)
    _kept_as_asked(api, events[-1]["response"], store=store)


@pytest.mark.parametrize("store", [False, True])
def test_a_compaction_is_ordered_as_recorded(api, store):
    body = sample("response_create_request_compaction_trigger") | {"store": store}
    body["input"][0]["content"] = LONG
    plain = posted(api, "/responses", body | {"stream": False})
    assert [item["type"] for item in plain["output"]] == ["compaction"]
    strict("response_auto_compacted", plain)
    _kept_as_asked(api, plain, store=store)
    events = told(api, body)
    _kept_as_asked(api, events[-1]["response"], store=store)
    assert events[-1]["type"] == "response.completed"
    assert "response.compaction.compacting" in kinds(events)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["compaction"]
    for event in events:
        strict("stream_auto_compaction", event)


def test_a_stream_the_agents_sdk_asks_for_is_told(api):
    body = sample("response_create_request_stream_agents_sdk")
    body["conversation"] = conversation_of(api)
    events = told(api, body)
    assert kinds(events) == kinds(sample("stream_text"))
    assert events[-1]["response"]["conversation"] == {"id": body["conversation"]}


def test_frames_on_the_wire_are_framed_as_recorded(shared):
    recorded = (FOLDER / "stream_text.sse").read_bytes()
    with shared.http() as http:
        answer = http.post("/v1/responses", json={"model": MODEL, "input": "Hi", "stream": True})
    for wire in (recorded, answer.content):
        assert wire.endswith(b"\n\n")
        for block in wire.removesuffix(b"\n\n").split(b"\n\n"):
            name, data = block.split(b"\n")
            assert name.startswith(b"event: response.")
            assert data.startswith(b'data: {"type":"' + name.removeprefix(b"event: ") + b'",')
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"


ELSEWHERE = {
    "errors": "tests/whole/refused.py",
    "agents_sdk_captured_requests": "tests/agents/test_recorded.py",
    "ws_client_events": "tests/schemas/test_websocket.py",
    "ws_server_events": "tests/schemas/test_websocket.py",
    "ws_error_previous_response_not_found": "tests/schemas/test_websocket.py",
}
"""Samples with tests of their own."""


def test_every_sample_is_used():
    mine = Path(__file__).read_text()
    root = Path(__file__).parents[2]
    # Names that tests put together: response_create_request_{which} and the like.
    families = ("conversation_create_request_", "response_create_request_", "compact_request_")
    for path in sorted(FOLDER.glob("[!_]*.*")):
        name = path.stem
        if name in ELSEWHERE:
            assert name in (root / ELSEWHERE[name]).read_text(), name
            continue
        family = next((each for each in families if name.startswith(each)), None)
        used = [name] if family is None else [f'"{name.removeprefix(family)}"', f'"{name}"']
        assert any(each in mine for each in used), name
