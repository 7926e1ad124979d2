"""What an answer consists of over the Responses API, plain and streamed."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from services.simulator.entries import digest_of, entries_of_input
from tests.simulator.streamed import events_of, output_of

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"
SQL = {"type": "custom", "name": "sql", "description": "Runs SQL"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.mark.parametrize(
    ("sample", "body"),
    [
        ("text", {"input": "Hi"}),
        ("refusal", {"input": "[[refuse No.]]"}),
        ("custom_tool_call", {"input": "[[call sql SELECT 1]]"}),
        ("reasoning_function_call", {"input": "[[reasoning]] [[call get]]"}),
        ("incomplete", {"input": "[[incomplete]]"}),
        ("failed_flat_error", {"input": "[[error-event flat]]"}),
        ("failed_nested_error_live_capture", {"input": "[[error-event nested]]"}),
        ("auto_compaction", {"input": "[[hosted compaction]]"}),
    ],
)
async def test_events_and_items_have_the_keys_of_the_samples(client, sample, body):
    given = json.loads((SAMPLES / f"stream_{sample}.json").read_text())
    expected = {
        event["type"]: [key for key in event if key not in ("obfuscation", "name")]
        for event in given
    }
    made = {event["type"]: event for event in await events_of(client, **body)}
    assert {kind: list(made[kind]) for kind in expected} == expected
    items = {item["type"]: list(item) for item in given[-1]["response"]["output"]}
    output = {item["type"]: list(item) for item in made[given[-1]["type"]]["response"]["output"]}
    assert output == items


async def test_a_refusal_is_streamed_as_one(client):
    events = await events_of(client, input="Do it [[refuse I would rather not.]]")
    deltas = [e["delta"] for e in events if e["type"] == "response.refusal.delta"]
    (message,) = events[-1]["response"]["output"]
    assert "".join(deltas) == "I would rather not."
    assert message["content"] == [{"type": "refusal", "refusal": "I would rather not."}]
    assert len(await output_of(client, input="[[call get]] [[refuse]]")) == 1


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("[[call sql SELECT 1 FROM a]]", "SELECT 1 FROM a"),
        ('[[call sql {"a":1}]]', '{"a":1}'),
        ("[[call sql]]", ""),
        ("Ask sql for all", "Ask sql for all"),
    ],
)
async def test_a_custom_tool_is_called_with_a_text_and_answered(client, said, written):
    history = [{"role": "user", "content": said}]
    (call,) = await output_of(client, input=history, tools=[SQL])
    assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "sql", written)
    output = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "3 rows"}
    history += [call, output]
    (message,) = await output_of(client, input=history, tools=[SQL])
    text = message["content"][0]["text"]
    assert "sql says: 3 rows." in text
    assert digest_of(entries_of_input(history)) in text


async def test_a_custom_tool_can_be_chosen(client):
    choice = {"type": "custom", "name": "sql"}
    (call,) = await output_of(client, input="Hi", tools=[WEATHER, SQL], tool_choice=choice)
    assert call["name"] == "sql"


async def test_a_function_of_a_namespace_is_called_with_it(client):
    space = {"type": "namespace", "name": "sky", "description": "The sky", "tools": [WEATHER]}
    (call,) = await output_of(client, input="get_weather", tools=[space])
    assert (call["name"], call["namespace"]) == ("get_weather", "sky")


async def test_a_cut_off_call_has_half_its_arguments(client):
    said = '[[call get {"city":"Oslo"}]] [[call get {"city":"Rome"}]] [[incomplete]]'
    first, last = await output_of_incomplete(client, said)
    assert (first["status"], first["arguments"]) == ("completed", '{"city":"Oslo"}')
    assert (last["status"], last["arguments"]) == ("incomplete", '{"city":')


async def output_of_incomplete(client, said):
    events = await events_of(client, input=said)
    assert events[-1]["type"] == "response.incomplete"
    return events[-1]["response"]["output"]


@pytest.mark.parametrize(
    ("form", "parts"), [("summary", (1, None)), ("text", (0, 1)), ("both", (1, 1))]
)
async def test_reasoning_is_told_as_ordered(client, form, parts):
    events = await events_of(client, input=f"[[reasoning {form}]] [[call get]]")
    reasoning, call = events[-1]["response"]["output"]
    content = reasoning.get("content")
    assert (len(reasoning["summary"]), content and len(content)) == parts
    names = {e["type"] for e in events}
    assert ("response.reasoning_text.delta" in names) == (form != "summary")
    assert ("response.reasoning_summary_text.delta" in names) == (form != "text")
    assert call["type"] == "function_call"


async def test_a_commentary_comes_before_the_calls(client):
    output = await output_of(client, input="[[commentary I look.]] [[call get]]")
    assert [item["type"] for item in output] == ["message", "function_call"]
    assert (output[0]["phase"], output[0]["content"][0]["text"]) == ("commentary", "I look.")


async def test_log_probabilities_are_told_to_who_asks(client):
    include = ["message.output_text.logprobs"]
    events = await events_of(client, input="[[say one two]]", include=include, top_logprobs=2)
    part = events[-1]["response"]["output"][0]["content"][0]
    deltas = [e["logprobs"][0] for e in events if e["type"].endswith("text.delta")]
    assert [one["token"] for one in part["logprobs"]] == ["one", " two"]
    assert [one["token"] for one in deltas] == ["one", " two"]
    assert [len(one["top_logprobs"]) for one in part["logprobs"]] == [2, 2]
    assert all(one["logprob"] < 0 for one in part["logprobs"])
    (plain,) = await output_of(client, input="[[say one two]]", include=include, top_logprobs=2)
    assert plain["content"][0] == part


async def test_a_stream_may_be_queued_first(client):
    events = await events_of(client, input="[[queued]]")
    assert [(e["type"], e["response"]["status"]) for e in events[:3]] == [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
    ]


@pytest.mark.parametrize("reason", ["content_filter", "max_messages"])
async def test_an_answer_is_incomplete_for_the_reason_ordered(client, reason):
    response = await client.responses.create(model="simulator", input=f"[[incomplete {reason}]]")
    assert response.incomplete_details.reason == reason


async def test_usage_may_be_missing(client):
    response = await client.responses.create(model="simulator", input="[[no-usage]]")
    assert response.usage is None


class Line(BaseModel):
    article: str
    count: int
    next: "Line | None"


class Order(BaseModel):
    number: int
    lines: list[Line]
    first: Line


async def test_a_structured_answer_fits_its_schema(client):
    parsed = await client.responses.parse(model="simulator", input="#7", text_format=Order)
    assert parsed.output_parsed.first.article.startswith("I have read 1 item")
    text = {"format": {"type": "json_object"}}
    answered = await client.responses.create(model="simulator", input="Hi", text=text)
    assert "said" in json.loads(answered.output_text)
