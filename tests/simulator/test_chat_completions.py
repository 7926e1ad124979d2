import json

import pytest
from openai import APIError, InternalServerError, NotFoundError
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from services.simulator.entries import digest_of, entries_of_messages

HELLO = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hi"}]
SQL = {"type": "custom", "custom": {"name": "sql"}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}


async def test_a_plain_answer_is_a_valid_completion(client):
    raw = await client.chat.completions.with_raw_response.create(model="any", messages=HELLO)
    completion = ChatCompletion.model_validate(json.loads(raw.content))
    assert completion.model == "any"
    assert completion.choices[0].finish_reason == "stop"
    assert digest_of(entries_of_messages(HELLO)) in completion.choices[0].message.content
    assert completion.usage.total_tokens > 0


async def test_both_apis_give_one_answer(client):
    chat = await client.chat.completions.create(model="simulator", messages=HELLO)
    response = await client.responses.create(model="simulator", instructions="Be kind", input="Hi")
    assert chat.choices[0].message.content == response.output_text
    assert chat.usage.prompt_tokens == response.usage.input_tokens
    assert chat.usage.completion_tokens == response.usage.output_tokens


async def test_a_stream_says_what_the_plain_answer_says(client):
    plain = await client.chat.completions.create(model="simulator", messages=HELLO)
    chunks = [
        ChatCompletionChunk.model_validate(chunk.model_dump())
        async for chunk in await client.chat.completions.create(
            model="simulator",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
    ]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage == plain.usage


async def test_a_stream_ends_with_done_and_has_no_usage_unless_asked(client):
    async with client.chat.completions.with_streaming_response.create(
        model="simulator", messages=HELLO, stream=True
    ) as raw:
        text = await raw.text()
    assert text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in text


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_and_their_outputs_answered(client, stream):
    messages = [{"role": "user", "content": 'Go [[call get_weather {"city":"Oslo, Norway"}]]'}]
    if stream:
        async with client.chat.completions.stream(
            model="simulator", messages=messages, tools=[WEATHER]
        ) as events:
            completion = await events.get_final_completion()
    else:
        completion = await client.chat.completions.create(
            model="simulator", messages=messages, tools=[WEATHER]
        )
    (choice,) = completion.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "Oslo, Norway"}
    function = {"name": call.function.name, "arguments": call.function.arguments}
    messages += [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call.id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "Rain"},
    ]
    answered = await client.chat.completions.create(
        model="simulator", messages=messages, tools=[WEATHER]
    )
    assert "get_weather says: Rain." in answered.choices[0].message.content


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_short_limit_ends_an_answer_for_its_length(client, name):
    completion = await client.chat.completions.create(
        model="simulator", messages=HELLO, **{name: 3}
    )
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 3


async def test_failing_is_an_error_of_the_server(client):
    messages = [{"role": "user", "content": "Hi [[fail]]"}]
    with pytest.raises(InternalServerError):
        await client.chat.completions.create(model="simulator", messages=messages)
    stream = await client.chat.completions.create(model="simulator", messages=messages, stream=True)
    assert (await anext(stream)).choices[0].delta.role == "assistant"
    assert (await anext(stream)).choices[0].delta.content
    with pytest.raises(APIError, match="server had an error"):
        [chunk async for chunk in stream]


async def test_an_unknown_model_is_not_found(client):
    with pytest.raises(NotFoundError) as caught:
        await client.chat.completions.create(model="nope", messages=HELLO)
    assert caught.value.code == "model_not_found"


async def both(client, said, **options: object):
    """The message, the finish reason and the deltas of one answer, plain and streamed."""
    body = {"model": "simulator", "messages": [{"role": "user", "content": said}], **options}
    raw = await client.chat.completions.with_raw_response.create(**body)
    plain = json.loads(raw.content)
    ChatCompletion.model_validate(plain, strict=True)
    (choice,) = plain["choices"]
    chunks = [chunk async for chunk in await client.chat.completions.create(**body, stream=True)]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    finish = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert finish == [None] * (len(finish) - 1) + [choice["finish_reason"]]
    return choice["message"], choice["finish_reason"], deltas


def joined(deltas, name):
    return "".join(getattr(delta, name, None) or "" for delta in deltas)


async def test_a_refusal_is_no_content(client):
    message, finish, deltas = await both(client, "[[refuse I would rather not.]]")
    assert (message["content"], message["refusal"], finish) == (None, "I would rather not.", "stop")
    assert joined(deltas, "refusal") == message["refusal"]
    assert joined(deltas, "content") == ""


@pytest.mark.parametrize(
    ("said", "model"), [("Hi", "simulator-reasoning"), ("Hi [[reasoning]]", "simulator")]
)
async def test_reasoning_is_told_as_other_servers_do(client, said, model):
    message, _, deltas = await both(client, said, model=model)
    assert message["reasoning_content"].startswith("I look at")
    assert joined(deltas, "reasoning_content") == message["reasoning_content"]
    assert joined(deltas, "content") == message["content"]


async def test_no_reasoning_is_told_unasked(client):
    message, _, _ = await both(client, "Hi")
    assert "reasoning_content" not in message


async def test_a_custom_tool_is_called_and_answered(client):
    message, finish, deltas = await both(client, "[[call sql SELECT 1 FROM a]]", tools=[SQL])
    (call,) = message["tool_calls"]
    assert (call["type"], finish) == ("custom", "tool_calls")
    assert call["custom"] == {"name": "sql", "input": "SELECT 1 FROM a"}
    pieces = [delta.tool_calls[0].custom["input"] for delta in deltas if delta.tool_calls]
    assert "".join(pieces) == "SELECT 1 FROM a"
    messages = [
        {"role": "user", "content": "Go"},
        message,
        {"role": "tool", "tool_call_id": call["id"], "content": "3 rows"},
    ]
    answered = await client.chat.completions.create(model="simulator", messages=messages)
    assert "sql says: 3 rows." in answered.choices[0].message.content


async def test_a_commentary_is_the_content_beside_the_calls(client):
    message, _, deltas = await both(client, "[[commentary I look.]] [[call get_weather]]")
    assert (message["content"], len(message["tool_calls"])) == ("I look.", 1)
    assert joined(deltas, "content") == "I look."


async def test_log_probabilities_are_told_to_who_asks(client):
    body = {
        "model": "simulator",
        "messages": [{"role": "user", "content": "[[say one two]]"}],
        "logprobs": True,
        "top_logprobs": 3,
    }
    plain = await client.chat.completions.create(**body)
    tokens = plain.choices[0].logprobs.content
    assert [(one.token, len(one.top_logprobs)) for one in tokens] == [("one", 3), (" two", 3)]
    stream = await client.chat.completions.create(**body, stream=True)
    streamed = [
        one
        async for chunk in stream
        if chunk.choices[0].logprobs
        for one in chunk.choices[0].logprobs.content
    ]
    assert streamed == tokens


@pytest.mark.parametrize(
    ("order", "finish"),
    [("incomplete", "length"), ("incomplete content_filter", "content_filter")],
)
async def test_an_answer_ends_early_for_the_reason_ordered(client, order, finish):
    assert (await both(client, f"[[{order}]]"))[1] == finish


async def test_usage_may_be_missing_though_asked_for(client):
    body = {"model": "simulator", "messages": [{"role": "user", "content": "[[no-usage]]"}]}
    assert (await client.chat.completions.create(**body)).usage is None
    stream = await client.chat.completions.create(
        **body, stream=True, stream_options={"include_usage": True}
    )
    assert [chunk.usage async for chunk in stream if chunk.usage] == []


class Order(BaseModel):
    number: int
    article: str


async def test_a_structured_answer_fits_its_schema(client):
    messages = [{"role": "user", "content": "Order #7"}]
    parsed = await client.chat.completions.parse(
        model="simulator", messages=messages, response_format=Order
    )
    assert parsed.choices[0].message.parsed.article.startswith("I have read 1 item")
