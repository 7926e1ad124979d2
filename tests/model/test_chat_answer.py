"""Answers of a chat API become the contract's items and events, which the SDK follows."""

import json
from typing import Any

import pytest

from services.model.chat_answer import ChatAnswer, usage
from tests.builders import plain
from tests.responder.following import BEGUN, decoded, fields, listen, relay, strictly
from tests.told_streams import Event, text_part

Delta = dict[str, Any]


class Told:
    """What became of deltas: events as the client hears them, the output, and why it ended."""

    def __init__(self, *deltas: Delta, finished: str | None = "stop", **logprobs: Any) -> None:
        chat, client = ChatAnswer(), relay()
        frames = client.opened(json.dumps(BEGUN).encode())
        for delta in deltas:
            for event in chat.take(delta, logprobs):
                frames += client.frame(fields(event))
        for event in chat.end(finished):
            frames += client.frame(fields(event))
        self.answer = chat.answer(None, "m")
        assert client.closed(self.answer) == b""
        self.output: list[Event] = [json.loads(bytes(raw)) for raw in client.output(self.answer)]
        response = {**BEGUN, "status": self.answer.status, "output": self.output}
        frames += client.ended(self.answer.status, json.dumps(response).encode())
        self.events = decoded(frames)
        listen(self.events)
        strictly(self.events)
        assert [{**item, "id": ""} for item in self.output] == [
            {**plain(raw), "id": ""} for raw in self.answer.items
        ]
        for event in self.events:
            assert list(event) == ["type", *sorted(set(event) - {"type"})]

    def names(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.events[2:-1]]

    def of(self, name: str) -> list[Event]:
        return [event for event in self.events if event["type"] == f"response.{name}"]


def function(name: str | None = None, arguments: Any = None, **call: Any) -> Delta:
    said = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"function": {k: v for k, v in said.items() if v is not None}, **call}]}


def whole(call_id: str, name: str = "look", arguments: Any = "{}") -> Delta:
    return {"id": call_id, "function": {"name": name, "arguments": arguments}}


def message(*parts: Event, status: str = "completed") -> Event:
    return {
        "id": "msg_1",
        "type": "message",
        "status": status,
        "content": list(parts),
        "role": "assistant",
    }


def call(number: int, call_id: str, arguments: str, status: str = "completed") -> Event:
    return {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call_id,
        "name": "look",
    }


REFUSAL = {"type": "refusal", "refusal": "I cannot."}


def test_text_is_a_message():
    told = Told({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {})

    assert told.output == [message(text_part("Hello"))]
    assert told.names() == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    assert told.events[2]["item"]["content"] == []


@pytest.mark.parametrize("content", [None, "", []])
def test_an_answer_that_says_nothing_has_no_output(content: Any):
    assert Told({"content": content}).output == []


def test_content_in_parts_is_told_part_by_part():
    told = Told(
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                {"type": "thinking", "thinking": " Yes."},
                {"type": "text", "text": "Hi"},
                {"type": "reference", "reference_ids": [1]},
                {"type": "text", "text": "!"},
                REFUSAL,
            ]
        }
    )

    assert told.output == [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm. Yes."}],
        },
        {**message(text_part("Hi!"), REFUSAL), "id": "msg_2"},
    ]


def test_a_refusal_is_a_part_of_its_own():
    told = Told({"refusal": "I "}, {"refusal": "cannot."})

    assert told.output == [message(REFUSAL)]
    assert told.names() == [
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]


def test_a_refusal_after_text_is_the_second_part():
    told = Told({"content": "Well,"}, {"refusal": "I cannot."})

    assert told.output == [message(text_part("Well,"), REFUSAL)]
    assert [event["content_index"] for event in told.of("content_part.done")] == [0, 1]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_ends_where_the_answer_begins(field: str):
    told = Told({field: "H"}, {field: "m."}, {"content": "Hi"})

    assert [item["type"] for item in told.output] == ["reasoning", "message"]
    assert told.output[0] == {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm."}],
    }
    assert told.names()[:7] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
    ]


def test_reasoning_told_under_both_names_is_told_once():
    (item,) = Told({"reasoning": "Hm.", "reasoning_content": "Hm."}).output
    assert item["content"][0]["text"] == "Hm."


def test_a_model_that_reasons_again_has_reasoned_twice():
    told = Told({"reasoning": "A"}, {"content": "B"}, {"reasoning": "C"}, {"content": "D"})

    kinds = ["reasoning", "message", "reasoning", "message"]
    assert [item["type"] for item in told.output] == kinds


def test_calls_are_told_with_their_pieces_and_end_with_the_answer():
    told = Told(
        {"content": "Let me look."},
        function("look", "", index=0, id="call_a"),
        function(None, '{"a"', index=0),
        function("look", "{", index=1, id="call_b"),
        function(None, ":1}", index=0),
        function(None, "}", index=1),
        finished="tool_calls",
    )

    assert told.output == [
        message(text_part("Let me look.")),
        call(2, "call_a", '{"a":1}'),
        call(3, "call_b", "{}"),
    ]
    # The message has ended before the first call begins.
    assert told.names()[5:7] == ["output_item.done", "output_item.added"]


def test_a_whole_message_is_told_like_a_stream():
    whole_calls = {"tool_calls": [whole("call_a"), whole("call_b")]}
    told = Told({"content": "Hi", "reasoning": "Hm.", "refusal": None, **whole_calls})

    kinds = ["reasoning", "message", "function_call", "function_call"]
    assert [item["type"] for item in told.output] == kinds


def test_calls_that_are_all_numbered_alike_are_told_apart_by_their_ids():
    told = Told(
        function("look", "{}", index=0, id="call_a"),
        function("look", '{"b":', index=0, id="call_b"),
        function(None, "2}", index=0, id="call_b"),
    )

    assert told.output == [call(1, "call_a", "{}"), call(2, "call_b", '{"b":2}')]


def test_a_call_without_an_id_gets_one():
    (item,) = Told(function("look", "{}", index=0)).output
    assert item["call_id"].startswith("call_")


def test_a_name_that_comes_late_is_waited_for():
    told = Told(function(None, "{", index=0, id="call_a"), function("look", "}", index=0))

    assert told.output == [call(1, "call_a", "{}")]


def test_a_call_that_never_gets_a_name_is_no_call():
    with pytest.raises(KeyError):
        Told(function(None, "{}", index=0, id="call_a"))


def test_arguments_told_as_an_object_are_written_as_one():
    (item,) = Told(function("look", {"a": [1]}, index=0, id="call_a")).output
    assert item["arguments"] == '{"a":[1]}'


def test_a_function_call_of_the_old_kind_is_a_call():
    old = [{"function_call": {"name": "look"}}, {"function_call": {"arguments": "{}"}}]
    (item,) = Told(*old, finished="function_call").output
    assert (item["name"], item["arguments"]) == ("look", "{}")


def test_a_custom_tool_is_called_with_its_input():
    def custom(**said: Any) -> Delta:
        return {"tool_calls": [{"index": 0, "id": "call_a", "type": "custom", "custom": said}]}

    told = Told(custom(name="sql", input="SEL"), custom(input="ECT 1"))

    assert told.output == [
        {
            "id": "ctc_1",
            "type": "custom_tool_call",
            "status": "completed",
            "input": "SELECT 1",
            "call_id": "call_a",
            "name": "sql",
        }
    ]
    assert told.names() == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]


@pytest.mark.parametrize(
    ("finished", "reason"),
    [
        ("length", "max_output_tokens"),
        ("content_filter", "content_filter"),
        ("stop", None),
        ("tool_calls", None),
        ("eos", None),
        (None, None),
    ],
)
def test_a_cut_answer_is_incomplete_and_so_is_what_was_cut(finished: str | None, reason: str):
    cut = Told({"content": "Hi"}, function("look", "{", index=0, id="c"), finished=finished)
    status = "incomplete" if reason else "completed"

    assert (cut.answer.status, cut.answer.reason) == (status, reason)
    # The message had ended before the call was cut.
    assert [item["status"] for item in cut.output] == ["completed", status]


def test_cut_reasoning_is_incomplete():
    (item,) = Told({"reasoning": "H"}, finished="length").output
    assert item["status"] == "incomplete"


TOKEN = {"token": "é", "bytes": None, "logprob": -0.5}
LIKELY = {"token": "é", "bytes": [195, 169], "logprob": -0.5}


def test_likelihoods_are_told_with_their_text_and_kept_with_its_part():
    told = Told(
        {"content": "é"}, {"content": "é"}, content=[{**TOKEN, "top_logprobs": [TOKEN, TOKEN]}]
    )

    likely = {**LIKELY, "top_logprobs": [LIKELY, LIKELY]}
    assert [event["logprobs"] for event in told.of("output_text.delta")] == [[likely], [likely]]
    assert told.of("output_text.done")[0]["logprobs"] == [likely, likely]
    assert told.output[0]["content"][0]["logprobs"] == [likely, likely]


def test_a_citation_is_an_annotation_of_the_text():
    cited = {"start_index": 0, "end_index": 2, "title": "T", "url": "https://x.test/"}
    annotations = [{"type": "url_citation", "url_citation": cited}, {"type": "other"}]

    told = Told({"content": "Hi"}, {"annotations": annotations})

    assert told.output[0]["content"][0]["annotations"] == [{"type": "url_citation", **cited}]
    (event,) = told.of("output_text.annotation.added")
    assert (event["annotation_index"], event["annotation"]["url"]) == (0, "https://x.test/")


@pytest.mark.parametrize(
    "delta",
    [
        {"content": 5},
        {"content": ["x"]},
        {"content": [{"type": "text"}]},
        {"refusal": ["x"]},
        {"reasoning": {"a": 1}},
        {"tool_calls": ["x"]},
        {"tool_calls": [{"function": "x"}]},
        {"tool_calls": 5},
        {"function_call": "look"},
    ],
    ids=str,
)
def test_a_delta_of_another_shape_is_not_told(delta: Delta):
    with pytest.raises((KeyError, TypeError, AttributeError)):
        Told(delta)


def test_a_count_is_told_in_the_contracts_shape():
    counted = usage(
        {
            "prompt_tokens": 9,
            "completion_tokens": 7,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
    )
    assert (counted.input_tokens, counted.output_tokens, counted.total_tokens) == (9, 7, 16)
    assert counted.input_tokens_details.cached_tokens == 4
    assert counted.input_tokens_details.cache_write_tokens == 1
    assert counted.output_tokens_details.reasoning_tokens == 2


@pytest.mark.parametrize(
    "given", [None, {}, {"prompt_tokens": None, "prompt_tokens_details": None}]
)
def test_a_count_that_was_not_given_is_zero(given: Any):
    counted = usage(given)
    assert (counted.input_tokens, counted.output_tokens, counted.total_tokens) == (0, 0, 0)


def test_a_total_that_was_not_given_is_the_sum():
    assert usage({"prompt_tokens": 2, "completion_tokens": 3}).total_tokens == 5
