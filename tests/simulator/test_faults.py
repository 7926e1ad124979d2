"""Everything that can go wrong with an answer, as the real client meets it."""

import asyncio
import json
import time

import httpx2 as httpx
import pytest
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    RateLimitError,
)

from services.simulator.faults import Attempts, Trouble
from tests.simulator.exchanges import listed, until
from tests.simulator.streamed import TERMINAL, events_of, known_types, text_of

STATUSES = [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 529]


@pytest.fixture
async def http(simulator_url):
    async with httpx.AsyncClient(
        base_url=simulator_url.removesuffix("/v1"), timeout=30
    ) as connected:
        yield connected


def chat(said, **options: object):
    return {"model": "simulator", "messages": [{"role": "user", "content": said}], **options}


async def create(client, api, said, **options: object):
    if api == "chat":
        return await client.chat.completions.create(**chat(said, **options))
    return await client.responses.create(model="simulator", input=said, **options)


async def consumed(stream):
    """What came, and the error that ended it."""
    came = []
    try:
        async for one in stream:
            came.append(one)  # noqa: PERF401 - what came before an error counts
    except APIError as error:
        return came, error
    return came, None


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("status", STATUSES)
async def test_an_ordered_error_has_the_shape_of_the_contract(client, api, status):
    with pytest.raises(APIStatusError) as caught:
        await create(client, api, f"[[error {status}]]")
    error = caught.value
    assert error.status_code == status
    body = error.response.json()["error"]
    assert list(body) == ["message", "type", "param", "code"]
    kind = "server_error" if status >= 500 else "invalid_request_error"
    assert body["type"] == ("requests" if status == 429 else kind)
    assert error.response.headers.get("retry-after") == ("1" if status in (429, 503, 529) else None)


@pytest.mark.parametrize(
    ("order", "kind", "code", "retry_after"),
    [
        ("429 7", "requests", "rate_limit_exceeded", "7"),
        ("429 0 insufficient_quota", "insufficient_quota", "insufficient_quota", "0"),
        ("400 context_length_exceeded", "invalid_request_error", "context_length_exceeded", None),
        ("500 3", "server_error", None, "3"),
        ("401", "invalid_request_error", "invalid_api_key", None),
    ],
)
async def test_an_error_has_the_code_and_the_wait_ordered(client, order, kind, code, retry_after):
    with pytest.raises(APIStatusError) as caught:
        await create(client, "responses", f"[[error {order}]]")
    assert (caught.value.type, caught.value.code) == (kind, code)
    assert caught.value.response.headers.get("retry-after") == retry_after


async def test_an_error_may_be_the_page_of_a_proxy(client):
    with pytest.raises(APIStatusError) as caught:
        await create(client, "responses", "[[error 502 html]]")
    assert caught.value.response.headers["content-type"] == "text/html"
    assert caught.value.code is None


@pytest.mark.parametrize("order", ["error 503 0 times=2", "drop first times=2", "drop times=2"])
async def test_trouble_that_is_limited_ends(simulator_url, http, order):
    said = f"[[{order}]] {time.monotonic_ns()}"
    async with AsyncOpenAI(base_url=simulator_url, api_key="none", max_retries=2) as patient:
        response = await patient.responses.create(model="simulator", input=said)
    assert response.status == "completed"
    exchanges = (await http.get("/simulator/requests")).json()
    assert sum(one["body"] == exchanges[-1]["body"] for one in exchanges) == 3


async def test_trouble_that_is_limited_is_counted_by_text(client):
    for said in (f"[[error 429 once]] {time.monotonic_ns()}" for _ in range(2)):
        with pytest.raises(RateLimitError):
            await create(client, "chat", said)
        await create(client, "responses", said)
        await create(client, "chat", said)


async def test_what_was_counted_is_forgotten_with_the_requests(client, http):
    said = f"[[error 429 once]] {time.monotonic_ns()}"
    for _ in range(2):
        await http.delete("/simulator/requests")
        with pytest.raises(RateLimitError):
            await create(client, "chat", said)


def test_what_is_counted_is_bounded():
    attempts, once = Attempts(texts_max=2), Trouble(times=1)
    assert [attempts.due(text, once) for text in ("a", "a", "b", "c", "b", "a")] == [
        True,
        False,
        True,
        True,
        False,
        True,
    ]
    attempts.clear()
    assert attempts.due("a", once)
    assert attempts.due("a", Trouble())


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_drop_before_the_first_byte_answers_nothing(client, api, stream):
    with pytest.raises(APIConnectionError):
        await create(client, api, "[[drop first]]", stream=stream)


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_drop_comes_after_so_many_deltas(client, count):
    stream = await create(client, "responses", f"[[drop {count}]] [[words 9]]", stream=True)
    events, error = await consumed(stream)
    seen = [event.type for event in events]
    assert isinstance(error, APIConnectionError)
    assert seen.count("response.output_text.delta") == count
    assert seen[-1] == ("response.output_text.delta" if count else "response.content_part.added")


@pytest.mark.parametrize("order", ["drop last", "drop 99"])
async def test_a_drop_may_take_the_end_only(client, order):
    stream = await create(client, "responses", f"[[{order}]] [[words 9]]", stream=True)
    events, error = await consumed(stream)
    assert isinstance(error, APIConnectionError)
    assert events[-1].type == "response.output_item.done"


@pytest.mark.parametrize(("order", "count"), [("drop 2", 2), ("drop last", 9)])
async def test_a_chat_stream_drops_before_its_finish(client, order, count):
    stream = await create(client, "chat", f"[[{order}]] [[words 9]]", stream=True)
    chunks, error = await consumed(stream)
    assert isinstance(error, APIConnectionError)
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (count + 1)


async def test_an_unfinished_stream_ends_cleanly_without_its_end(client):
    stream = await create(client, "responses", "[[unfinished]] [[words 9]]", stream=True)
    assert [event.type async for event in stream][-1] == "response.output_item.done"
    chunks = await create(client, "chat", "[[unfinished]] [[words 9]]", stream=True)
    assert [chunk.choices[0].finish_reason async for chunk in chunks] == [None] * 10


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_a_malformed_line_is_no_json(client, api):
    stream = await create(client, api, "[[malformed]] [[words 9]]", stream=True)
    with pytest.raises(json.JSONDecodeError):
        [event async for event in stream]


@pytest.mark.parametrize("form", ["shape", "list"])
async def test_a_malformed_line_may_be_json_of_a_wrong_shape(client, form):
    text = await text_of(client, input=f"[[malformed {form}]] [[words 9]]")
    lines = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    wrong = [line for line in lines if not isinstance(line, dict) or line.get("id") == 7]
    assert len(wrong) == 1
    assert lines[-1]["type"] == "response.completed"


@pytest.mark.parametrize("path", ["responses", "chat/completions"])
async def test_a_malformed_plain_answer_is_no_json_or_no_answer(http, path):
    async def answer(order):
        said = {"input": order, **chat(order)}
        return await http.post(f"/v1/{path}", json=said)

    broken = await answer("[[malformed]]")
    assert (broken.status_code, broken.headers["content-type"]) == (200, "application/json")
    with pytest.raises(json.JSONDecodeError):
        broken.json()
    assert (await answer("[[malformed list]]")).json() == [1, 2]
    assert (await answer("[[malformed shape]]")).json()["output"] == "none"


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "bio_policy"])
async def test_a_response_fails_with_the_code_ordered(client, code):
    events = await events_of(client, input=f"Hi [[failed {code}]]")
    assert events[-1]["type"] == "response.failed"
    error = events[-1]["response"]["error"]
    assert error["code"] == code
    assert error["message"]
    plain = await client.responses.create(model="simulator", input=f"Hi [[failed {code}]]")
    assert (plain.status, plain.error.code) == ("failed", code)


async def test_a_flat_error_event_is_followed_by_the_failure(client):
    said = "[[error-event flat]] [[failed rate_limit_exceeded]]"
    events = await events_of(client, input=said)
    assert [e["type"] for e in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"
    stream = await create(client, "responses", said, stream=True)
    assert [event.type async for event in stream][-2:] == ["error", "response.failed"]


async def test_a_nested_error_event_is_raised_by_the_client(client):
    stream = await create(client, "responses", "[[error-event nested]]", stream=True)
    events, error = await consumed(stream)
    assert "server had an error" in str(error)
    assert events[-1].type == "response.output_text.delta"
    assert not TERMINAL & {event.type for event in events}


async def test_an_error_event_of_chat_is_nested_or_flat(client):
    stream = await create(client, "chat", "[[error-event nested]]", stream=True)
    with pytest.raises(APIError, match="server had an error"):
        [chunk async for chunk in stream]
    flat = await create(client, "chat", "[[error-event flat]] [[words 9]]", stream=True)
    assert [chunk.object async for chunk in flat][-1] == "error"


async def test_keepalives_and_unknown_events_are_numbered_and_harm_nobody(client):
    said = "[[keepalive]] [[unknown-event]] [[say one two three]] [[reasoning]]"
    events = await events_of(client, input=said)
    names = [e["type"] for e in events]
    assert names.count("keepalive") == sum(name.endswith("delta") for name in names) > 3
    assert names.count("response.future_thing.added") == 2
    assert names[names.index("keepalive") + 1].endswith("delta")
    async with client.responses.stream(model="simulator", input=said) as stream:
        final = await stream.get_final_response()
    assert final.output_text == "one two three"


async def test_keepalives_and_unknown_chunks_of_chat_harm_nobody(client):
    said = "[[keepalive]] [[unknown-event]] [[say one two]]"
    async with client.chat.completions.with_streaming_response.create(
        **chat(said, stream=True)
    ) as raw:
        text = await raw.text()
    assert (text.count(": keepalive\n\n"), text.count("chat.completion.future")) == (2, 1)
    stream = await create(client, "chat", said, stream=True)
    texts = [c.choices[0].delta.content or "" async for c in stream if c.choices]
    assert "".join(texts) == "one two"


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("order", ["hang", "wait 60", "delay 60", "hang 2", "gate never 2"])
async def test_a_client_that_leaves_is_noticed(client, http, api, stream, order):
    said = f"[[{order}]] [[words 9]] {time.monotonic_ns()}"

    async def ask():
        answer = await create(client, api, said, stream=stream)
        async for _ in answer:
            pass

    asking = asyncio.create_task(ask())

    await until(lambda: listed(http, said))
    assert (await listed(http, said))[-1]["ended"] is False
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    async def ended():
        return (await listed(http, said))[-1]["ended"]

    await until(ended)
    assert (await listed(http, said))[-1]["aborted"] is True


async def test_a_client_that_stays_is_not_said_to_have_left(client, http):
    said = f"[[delay 0.001]] {time.monotonic_ns()}"
    stream = await create(client, "responses", said, stream=True)
    assert [event async for event in stream]
    (exchange,) = await listed(http, said)
    assert (exchange["ended"], exchange["aborted"]) == (True, False)


async def test_a_hanging_answer_times_the_client_out(client):
    with pytest.raises(APITimeoutError):
        await client.responses.create(model="simulator", input="[[hang]]", timeout=0.2)


async def test_a_stream_hangs_after_so_many_deltas(client):
    said = "[[hang 2]] [[words 9]]"
    events, error = await consumed(
        await create(client, "responses", said, stream=True, timeout=0.3)
    )
    assert isinstance(error, APITimeoutError)
    assert [event.type for event in events].count("response.output_text.delta") == 2


async def test_an_answer_waits_before_its_first_byte(client):
    started = time.monotonic()
    await create(client, "responses", "[[wait 0.2]]")
    assert time.monotonic() - started >= 0.2


async def test_every_event_but_audio_can_be_had(client):
    hosted = "web_search file_search code_interpreter image_generation shell compaction"
    said = (
        " ".join(f"[[hosted {kind}]]" for kind in hosted.split()),
        "[[queued]] [[reasoning both]] [[hosted mcp]] [[call get]] [[call sql SELECT 1]]",
        "[[hosted mcp failed]] [[hosted mcp_list_tools failed]]",
        "[[refuse]] [[incomplete]]",
        "[[error-event flat]]",
    )
    seen = {event["type"] for text in said for event in await events_of(client, input=text)}
    missing = known_types() - seen
    assert missing == {
        "response.audio.delta",
        "response.audio.done",
        "response.audio.transcript.delta",
        "response.audio.transcript.done",
    }
