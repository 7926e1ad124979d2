import json

import pytest
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from openai.types.responses import Response

from services.simulator.entries import digest_of, entries_of_input
from tests.simulator.streamed import TERMINAL, events_of

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


async def test_a_plain_answer_is_a_valid_response(client):
    raw = await client.responses.with_raw_response.create(
        model="any", input="Hi", temperature=0.5, metadata={"a": "b"}, text={"verbosity": "low"}
    )
    body = json.loads(raw.content)
    Response.model_validate(body)
    assert raw.headers["x-request-id"].startswith("req_")
    assert (body["model"], body["temperature"], body["metadata"]) == ("any", 0.5, {"a": "b"})
    assert body["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert body["usage"]["total_tokens"] > 0
    assert digest_of(entries_of_input("Hi")) in raw.parse().output_text


async def test_a_stream_says_what_the_plain_answer_says(client):
    plain = await client.responses.create(model="simulator", input="Hi", instructions="Be kind")
    async with client.responses.stream(
        model="simulator", input="Hi", instructions="Be kind"
    ) as stream:
        deltas = [event.delta async for event in stream if event.type.endswith("text.delta")]
        final = await stream.get_final_response()
    assert "".join(deltas) == plain.output_text == final.output_text
    assert final.usage == plain.usage


async def test_a_stream_of_text_has_the_events_of_the_contract(client):
    events = await events_of(client, input="[[say Hello you]]")
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[-1]["response"]["output"] == [events[-2]["item"]]


async def test_reasoning_is_streamed_before_the_message(client):
    events = await events_of(
        client,
        model="simulator-reasoning",
        input="Hi",
        include=["reasoning.encrypted_content"],
    )
    reasoning, message = events[-1]["response"]["output"]
    deltas = [e["delta"] for e in events if e["type"] == "response.reasoning_summary_text.delta"]
    assert "".join(deltas) == reasoning["summary"][0]["text"]
    assert reasoning["encrypted_content"]
    assert message["type"] == "message"
    usage = events[-1]["response"]["usage"]
    assert 0 < usage["output_tokens_details"]["reasoning_tokens"] < usage["output_tokens"]


async def test_reasoning_is_only_encrypted_for_who_asks(client):
    response = await client.responses.create(model="simulator-reasoning", input="Hi")
    assert response.output[0].encrypted_content is None


async def test_parallel_calls_are_streamed_and_their_outputs_answered(client):
    said = (
        'Weather [[call get_weather {"city":"Oslo, Norway"}]] [[call get_weather {"city":"Rome"}]]'
    )
    history = [{"role": "user", "content": said}]
    async with client.responses.stream(model="simulator", input=history, tools=[WEATHER]) as stream:
        final = await stream.get_final_response()
    assert [call.arguments for call in final.output] == [
        '{"city":"Oslo, Norway"}',
        '{"city":"Rome"}',
    ]
    history += [
        call.model_dump(exclude_unset=True, exclude={"parsed_arguments"}) for call in final.output
    ]
    for call in final.output:
        output = f"Rain {call.arguments}"
        history.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
    answered = await client.responses.create(model="simulator", input=history, tools=[WEATHER])
    assert 'get_weather says: Rain {"city":"Oslo, Norway"}.' in answered.output_text
    assert digest_of(entries_of_input(history)) in answered.output_text


async def test_a_required_tool_is_called(client):
    response = await client.responses.create(
        model="simulator", input="Hi", tools=[WEATHER], tool_choice="required"
    )
    assert [item.type for item in response.output] == ["function_call"]


@pytest.mark.parametrize("body", [{"input": "[[incomplete]]"}, {"max_output_tokens": 16}])
async def test_an_incomplete_stream_ends_so(client, body):
    events = await events_of(client, **{"input": "Hi [[words 99]]", **body})
    response = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"]["output_tokens"] > 0


async def test_a_failed_stream_has_deltas_before_its_end(client):
    events = await events_of(client, input="Hi [[fail]]")
    assert events[-2]["type"] == "response.output_text.delta"
    response = events[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")


async def test_a_failed_plain_answer_is_a_response(client):
    response = await client.responses.create(model="simulator", input="[[fail]]")
    assert (response.status, response.output) == ("failed", [])


@pytest.mark.parametrize("kind", [RateLimitError, InternalServerError, BadRequestError])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_ordered_error_is_the_status(client, kind, stream):
    status = {RateLimitError: 429, InternalServerError: 500, BadRequestError: 400}[kind]
    with pytest.raises(kind) as caught:
        await client.responses.create(model="simulator", input=f"[[error {status}]]", stream=stream)
    assert caught.value.response.headers.get("retry-after") == ("1" if status == 429 else None)


@pytest.mark.parametrize("delay", ["", "[[delay 0.01]]"])
async def test_a_dropped_stream_breaks_after_deltas(client, delay):
    stream = await client.responses.create(
        model="simulator", input=f"Hi [[drop]] {delay}", stream=True
    )
    seen = set()

    async def read():
        async for event in stream:
            seen.add(event.type)

    with pytest.raises(APIConnectionError):
        await read()
    assert "response.output_text.delta" in seen
    assert not TERMINAL & seen


async def test_a_dropped_plain_answer_breaks(client):
    with pytest.raises(APIError):
        await client.responses.create(model="simulator", input="Hi [[drop]]")


async def test_a_delayed_stream_comes_in_pieces(client):
    async with client.responses.with_streaming_response.create(
        model="simulator", input="[[delay 0.02]] [[say one two three]]", stream=True
    ) as raw:
        parts = [part async for part in raw.iter_bytes()]
    assert len(parts) > 1
    assert sum(part.count(b".delta\n") for part in parts) == 3


@pytest.mark.parametrize(
    ("body", "param", "code", "status"),
    [
        ({"model": "nope", "input": "Hi"}, "model", "model_not_found", 400),
        ({"model": "unknown-1", "input": "Hi"}, "model", "model_not_found", 400),
        ({"input": "Hi"}, "model", "missing_required_parameter", 400),
        ({"model": "m"}, None, "missing_required_parameter", 400),
        ({"model": "m", "input": 5}, "input", "invalid_type", 400),
        ({"model": "m", "input": ["Hi"]}, "input[0]", "invalid_type", 400),
        (
            {"model": "m", "input": "Hi", "previous_response_id": "resp_1"},
            "previous_response_id",
            "previous_response_not_found",
            400,
        ),
        ({"model": "m", "input": "Hi", "conversation": "conv_1"}, None, None, 404),
    ],
)
async def test_a_wrong_request_has_the_error_of_the_contract(client, body, param, code, status):
    with pytest.raises(APIStatusError) as caught:
        await client.post("/responses", body=body, cast_to=object)
    error = caught.value
    assert (error.param, error.code, error.status_code) == (param, code, status)
    assert list(error.response.json()["error"]) == ["message", "type", "param", "code"]


async def test_unknown_urls_are_not_found(client):
    with pytest.raises(NotFoundError, match=r"Invalid URL \(GET /v1/responses/resp_1\)"):
        await client.responses.retrieve("resp_1")
