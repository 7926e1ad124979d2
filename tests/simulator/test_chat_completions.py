import json

import pytest
from openai import APIError, InternalServerError, NotFoundError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.simulator.entries import digest_of, entries_of_messages

HELLO = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hi"}]
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
