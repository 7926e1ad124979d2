"""``POST /v1/responses/compact`` (contract 5.3)."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types.responses import CompactedResponse
from openai.types.responses.response_input_message_item import ResponseInputMessageItem

from services.conversation.compaction import SAID_TOKENS
from services.model.rendering import SUMMARY_INTRODUCTION
from tests.summaries import wants_summary
from tests.whole.running import MODEL, Running, function, message, output_of, texts, until
from tests.whole.strict import strictly

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"
FACT = "Parcel NL-4471-88 left Rotterdam on 2026-11-02."


@pytest.fixture
def client(shared: Running) -> Iterator[OpenAI]:
    with shared.client() as sdk:
        yield sdk


@pytest.fixture
def http(shared: Running) -> Iterator[httpx2.Client]:
    with shared.http() as bytes_as_they_come:
        yield bytes_as_they_come


def sample(name: str) -> dict[str, object]:
    return json.loads((SAMPLES / f"{name}.json").read_bytes())


def compact(http: httpx2.Client, **body: object) -> httpx2.Response:
    return http.post("/v1/responses/compact", json={"model": MODEL, **body})


def dump(compacted: CompactedResponse) -> list[dict[str, object]]:
    """Its output as a client sends it on; the SDK has no class for the user's messages in it."""
    return [item.model_dump(exclude_unset=True, warnings=False) for item in compacted.output]


def shape(value: object) -> object:
    """Keys in their order, and the kinds of values."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value)


def asked(running: Running, text: str) -> dict[str, object]:
    """The newest request for a summary whose items hold ``text``."""
    bodies = [json.loads(body) for body in running.received_with(text)]
    return [body for body in bodies if wants_summary(body)][-1]


def test_a_window_that_was_sent_is_answered_in_the_contracts_shape(
    shared: Running, http: httpx2.Client
):
    before = shared.last_sequences()
    body = sample("compact_request_by_input") | {"model": MODEL}
    answer = http.post("/v1/responses/compact", json=body)
    assert answer.status_code == 200, answer.text

    told, expected = answer.json(), sample("compact_response")
    assert shape(told) == shape(expected)
    assert told["object"] == "response.compaction"
    assert told["output"][0] == {**expected["output"][0], "id": told["output"][0]["id"]}
    assert {item["id"].partition("_")[0] for item in told["output"]} == {"msg", "cmp"}
    assert told["id"].startswith("resp_")
    assert abs(told["created_at"] - time.time()) < 60
    assert told["usage"]["total_tokens"] > 0
    user, summary = told["output"]
    strictly(ResponseInputMessageItem, json.dumps(user).encode())
    strictly(CompactedResponse, json.dumps({**told, "output": [summary]}).encode())
    assert asked(shared, "Create a landing page")["instructions"] == "Keep file names"
    assert shared.last_sequences() == before


def test_what_was_answered_is_the_next_window(shared: Running, client: OpenAI):
    mark = secrets.token_hex(4)
    talk = [message(f"{mark} {FACT}"), message("It did.", "assistant"), message("And the lamps?")]
    compacted = client.responses.compact(model=MODEL, input=talk)
    dumped = dump(compacted)
    assert [item["type"] for item in dumped] == ["message", "message", "compaction"]
    again = [*dumped, {**message(f"{mark} again"), "id": f"msg_{mark}"}]

    unstored = client.responses.create(model=MODEL, input=again, store=False)
    stored = client.responses.create(model=MODEL, input=again)
    client.responses.create(model=MODEL, input=f"{mark} further", previous_response_id=stored.id)

    assert unstored.status == stored.status == "completed"
    *_, first, second, third = [json.loads(body)["input"] for body in shared.received_with(mark)]
    assert first == second == third[: len(first)]
    told = texts([json.dumps(item).encode() for item in first])
    assert told[:2] == [f"{mark} {FACT}", "And the lamps?"]
    assert told[2].startswith(SUMMARY_INTRODUCTION)
    assert "NL-4471-88" in told[2]
    assert told[3:] == [f"{mark} again"]


def test_a_window_is_compacted_again_without_summarising_its_summary(
    shared: Running, client: OpenAI
):
    mark = secrets.token_hex(4)
    talk = [message(f"{mark} {FACT}"), message("It did.", "assistant")]
    once = client.responses.compact(model=MODEL, input=talk)
    dumped = dump(once)
    twice = client.responses.compact(
        model=MODEL, input=[*dumped, message(f"{mark} more"), message("Yes.", "assistant")]
    )

    told = texts([json.dumps(item).encode() for item in asked(shared, f"{mark} more")["input"]])
    assert [told[0], *told[2:4]] == [f"{mark} {FACT}", f"{mark} more", "Yes."]
    assert "It is kept beside yours" in " ".join(told[4].split())
    assert [item.type for item in twice.output] == ["message", "message", "compaction"]
    client.responses.create(
        model=MODEL,
        input=[
            *dump(twice),
            message(f"{mark} end"),
        ],
    )
    window = json.loads(shared.received_with(f"{mark} end")[-1])["input"]
    summary = texts([json.dumps(window[2]).encode()])[0]
    assert summary.count(SUMMARY_INTRODUCTION) == 1
    assert "NL-4471-88" in summary
    assert "more" in summary


def test_compacted_twice_in_a_row_the_summary_is_the_same_and_no_model_is_asked(
    shared: Running, client: OpenAI
):
    mark = secrets.token_hex(4)
    once = client.responses.compact(model=MODEL, input=[message(f"{mark} {FACT}")])
    asked_before = len(shared.received())
    dumped = dump(once)
    twice = client.responses.compact(model=MODEL, input=dumped)
    assert len(shared.received()) == asked_before
    assert dump(twice)[0] == dump(once)[0]
    assert twice.usage.total_tokens == 0


def test_a_response_can_be_compacted_with_what_led_to_it(shared: Running, client: OpenAI):
    mark = secrets.token_hex(4)
    tools = [function("look", what="string")]
    first = client.responses.create(
        model=MODEL, input=f'{mark} {FACT} [[call look {{"what":"lamp"}}]]', tools=tools
    )
    second = client.responses.create(
        model=MODEL,
        input=[output_of(first.output[0].call_id, "three lamps")],
        previous_response_id=first.id,
        tools=tools,
    )
    before = shared.last_sequence()
    body = sample("compact_request_by_previous") | {
        "model": MODEL,
        "previous_response_id": second.id,
    }
    compacted = client.responses.compact(**body)
    assert shared.last_sequence() == before

    assert [item.type for item in compacted.output] == ["message", "compaction"]
    summarised = [item["type"] for item in asked(shared, f"{mark} ")["input"]]
    assert summarised == ["message", "function_call", "function_call_output", "message", "message"]
    # The model is that of the response where none is named.
    unnamed = client.responses.compact(model=None, previous_response_id=second.id)
    assert unnamed.usage.total_tokens == compacted.usage.total_tokens


def test_what_a_window_only_names_is_summarised_too(shared: Running, client: OpenAI):
    mark = secrets.token_hex(4)
    response = client.responses.create(model=MODEL, input=f"{mark} [[say {FACT}]]")
    named = {"type": "item_reference", "id": response.output[0].id}
    client.responses.compact(model=MODEL, input=[message(f"{mark} What?"), named])
    summarised = asked(shared, f"{mark} What?")["input"]
    assert texts([json.dumps(item).encode() for item in summarised])[:-1] == [
        f"{mark} What?",
        FACT,
    ]


def test_a_calls_output_must_be_there_before_it_is_summarised_away(client: OpenAI):
    tools = [function("look", what="string")]
    asking = client.responses.create(
        model=MODEL, input='[[call look {"what":"lamp"}]]', tools=tools
    )
    with pytest.raises(openai.BadRequestError, match="No tool output found for function call"):
        client.responses.compact(model=MODEL, previous_response_id=asking.id)


def test_a_conversations_response_can_be_compacted(client: OpenAI):
    mark = secrets.token_hex(4)
    conversation = client.conversations.create(items=[message(f"{mark} {FACT}")])
    response = client.responses.create(
        model=MODEL, input=f"{mark} second", conversation=conversation.id
    )
    compacted = client.responses.compact(model=MODEL, previous_response_id=response.id)
    assert [item.content[0].text for item in compacted.output[:-1]] == [
        f"{mark} {FACT}",
        f"{mark} second",
    ]
    listed = client.conversations.items.list(conversation.id)
    assert [item.type for item in listed] == ["message"] * 3


def test_of_the_users_messages_the_newest_that_fit_are_kept(client: OpenAI):
    large = "parcel " * (SAID_TOKENS // 2 + 100)
    talk = [message(f"{number} {large}") for number in range(3)]
    compacted = client.responses.compact(model=MODEL, input=[*talk, message("small")])
    kept = [item.content[0].text[:6] for item in compacted.output[:-1]]
    assert kept == ["2 parc", "small"]


def test_its_id_is_no_response_to_follow_or_to_read(client: OpenAI):
    compacted = client.responses.compact(model=MODEL, input="Hello")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(compacted.id)
    for call in (client.responses.create, client.responses.compact):
        with pytest.raises(openai.BadRequestError) as refused:
            call(model=MODEL, input="Go on", previous_response_id=compacted.id)
        assert refused.value.code == "previous_response_not_found"


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"input": []}, 400, "input", None),
        ({}, 400, None, "missing_required_parameter"),
        ({"input": "Hi", "model": 7}, 400, "model", "invalid_type"),
        (
            {"previous_response_id": f"resp_{'0' * 50}"},
            400,
            "previous_response_id",
            "previous_response_not_found",
        ),
        (
            {"previous_response_id": "resp_short"},
            400,
            "previous_response_id",
            "previous_response_not_found",
        ),
        ({"input": "Hi", "model": None}, 400, "model", "missing_required_parameter"),
    ],
    ids=["empty", "nothing", "model_no_string", "unknown", "never_minted", "no_model"],
)
def test_what_cannot_be_compacted_is_refused(http: httpx2.Client, body, status, param, code):
    answer = compact(http, **body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["param"], error["code"]) == (param, code)


def test_a_body_without_a_model_or_that_is_no_json_is_refused(http: httpx2.Client):
    for body, code in ((b'{"input":"Hi"}', "missing_required_parameter"), (b"{", "invalid_json")):
        answer = http.post("/v1/responses/compact", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_a_compactor_that_dies_is_told_of_and_the_next_one_answers(wounded: Running):
    wounded.kill("compactor")
    with wounded.http(timeout=30) as http:

        def answered() -> bool:
            answer = compact(http, input="Hello")
            assert answer.status_code in {200, 503}, answer.text
            return answer.status_code == 200

        until(answered)
