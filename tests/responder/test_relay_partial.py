"""What an answer held when it was cut off."""

import json
from typing import Any

import pytest
from openai.types.responses import ResponseOutputItem
from pydantic import TypeAdapter

from tests.responder.following import fields, relay
from tests.told_streams import (
    CITATION,
    STREAMS,
    Event,
    event,
    function_call,
    items_of,
    message,
    reasoning,
    text_part,
)

ITEM: TypeAdapter[Any] = TypeAdapter(ResponseOutputItem)


def partial(events: list[Event]) -> list[Event]:
    told = relay()
    for each in events:
        told.frame(fields(each))
    return [json.loads(bytes(item)) for item in told.partial()]


def test_an_answer_that_has_said_nothing_has_no_output():
    assert partial([]) == []
    assert partial(message(0, "Hi")[:2]) == []


def test_the_text_so_far_stays_and_is_incomplete():
    (item,) = partial(message(0, "Hel", 'l\\"', "ö \u2028")[:5])

    assert item == {
        "id": "msg_1",
        "type": "message",
        "status": "incomplete",
        "content": [text_part('Hell\\"ö \u2028')],
        "role": "assistant",
    }


def test_items_that_are_done_stay_as_they_were_told():
    (said, called) = partial([*message(0, "Hi"), *function_call(1, '{"a":', "1}")[:2]])

    assert said == {**items_of(message(0, "Hi"))[0], "id": "msg_1"}
    assert (called["arguments"], called["status"]) == ('{"a":', "incomplete")


def test_of_several_parts_the_last_is_cut():
    place = {"item_id": "msg_up", "content_index": 1}
    second = [
        event("content_part.added", 0, **place, part={"type": "refusal", "refusal": ""}),
        event("refusal.delta", 0, **place, delta="I c"),
    ]

    (item,) = partial([*message(0, "Hi")[:-1], *second])

    assert item["content"] == [text_part("Hi"), {"type": "refusal", "refusal": "I c"}]


def test_a_citation_stays_with_its_text():
    (item,) = partial(STREAMS["message_cited"][:5])

    assert item["content"] == [text_part("Hi there", annotations=[CITATION])]


def test_a_part_that_is_done_is_as_it_was_told():
    (item,) = partial(STREAMS["message_cited"][:-1])

    assert item["content"] == STREAMS["message_cited"][-1]["item"]["content"]


@pytest.mark.parametrize("events", [3, 4, 5])
def test_a_thought_so_far_stays(events: int):
    (item,) = partial(reasoning()[:events])

    assert item["summary"] == [{"type": "summary_text", "text": "I think."}]
    assert item["status"] == "incomplete"
    assert "content" not in item


def test_a_thought_told_as_text_stays():
    summed, told = partial(reasoning()[:7])[0], partial([reasoning()[0], reasoning()[6]])[0]

    assert summed["content"] == told["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert told["summary"] == []


CUTS = {
    "custom_tool_call": (2, "input", "SELECT "),
    "mcp_call": (3, "arguments", '{"n":'),
    "code_interpreter_call": (3, "code", "print"),
    "shell_call": (7, "action", ["ls -l", "pw"]),
    "shell_call_output": (3, "output", STREAMS["shell_call_output"][2]["output"]),
}


@pytest.mark.parametrize("name", CUTS)
def test_what_a_tool_was_to_do_stays(name: str):
    events, field, expected = CUTS[name]

    (item,) = partial(STREAMS[name][:events])

    held = item[field]["commands"] if field == "action" else item[field]
    assert (held, item["status"]) == (expected, "incomplete")


@pytest.mark.parametrize(
    "name",
    [
        "web_search_call",
        "file_search_call",
        "image_generation_call",
        "mcp_list_tools",
        "compaction",
    ],
)
def test_of_progress_without_content_nothing_stays(name: str):
    assert partial(STREAMS[name][:-1]) == []


@pytest.mark.parametrize("name", STREAMS)
def test_wherever_an_answer_is_cut_its_items_are_what_the_sdk_knows(name: str):
    events = STREAMS[name]
    for cut in range(len(events) + 1):
        items = partial(events[:cut])
        for item in items:
            ITEM.validate_python(item)
            assert item.get("status") in {"incomplete", "completed", "failed", None}
    assert len(items) == len(items_of(events))


def test_the_partial_output_is_the_same_however_often_it_is_asked_for():
    told = relay()
    asked = []
    for each in message(0, "Hel", "lo"):
        told.frame(fields(each))
        asked.append(told.partial())
    assert asked[-1] == told.partial()
    assert [len(items) for items in asked] == [0, 0, 1, 1, 1, 1, 1]
