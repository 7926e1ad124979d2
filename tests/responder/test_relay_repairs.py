"""Streams that leave something out are made whole; those nobody could follow end as failed."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import PROPERTY
from tests.responder.following import Followed, follow, strictly
from tests.told_streams import (
    STREAMS,
    Event,
    added,
    done,
    event,
    function_call,
    items_of,
    message,
    reasoning,
    text_part,
    whole,
)

SAID = message(0, "Hel", "lo")
CALLED = function_call(1, '{"a":', "1}")


def named(followed: Followed, *names: str) -> list[Event]:
    """Events of these names."""
    return [e for e in followed.events if e["type"].removeprefix("response.") in names]


def told_items(followed: Followed) -> list[tuple[int, str]]:
    return [(e["output_index"], e["item"]["type"]) for e in named(followed, "output_item.done")]


def shapes(output: list[Event]) -> list[Event]:
    return [{**item, "id": ""} for item in output]


# Items that are added and never done


@pytest.mark.parametrize("end", [None, "msg_up", "another"], ids=["", "same_id", "other_id"])
def test_an_item_without_its_end_gets_it_from_the_response_or_from_its_deltas(end: str | None):
    final = [] if end is None else [{**SAID[-1]["item"], "id": end}]

    followed = follow(whole(SAID[:-1], output=final))

    assert followed.failed is None
    assert shapes(followed.output) == shapes(items_of(SAID))
    assert told_items(followed) == [(0, "message")]
    strictly(followed.events)


def test_an_item_that_never_said_anything_is_still_in_the_output():
    followed = follow(whole([*SAID, CALLED[0]]))

    assert shapes(followed.output)[1] == {
        **CALLED[0]["item"],
        "id": "",
        "status": "completed",
    }


def test_a_cut_item_of_an_incomplete_response_is_incomplete():
    followed = follow(whole(SAID[:3], "incomplete", output=[]))

    (item,) = followed.output
    assert (item["status"], item["content"]) == ("incomplete", [text_part("Hel")])


def test_a_type_that_cannot_be_incomplete_keeps_the_status_it_had():
    followed = follow(whole(STREAMS["image_generation_call"][:2], "incomplete", output=[]))

    assert [item["status"] for item in followed.output] == ["in_progress"]


def test_an_end_that_names_another_call_is_not_this_items_end():
    final = {**CALLED[-1]["item"], "call_id": "call_other"}

    followed = follow(whole(function_call(0, "{}")[:2], output=[final]))

    assert [item["call_id"] for item in followed.output] == ["call_1"]


# Items that are never told


def test_items_only_the_response_holds_are_told_before_its_end():
    final = [*items_of(SAID), *items_of(CALLED)]

    followed = follow(whole(SAID, output=final))

    assert told_items(followed) == [(0, "message"), (1, "function_call")]
    first = named(followed, "output_item.added")[1]["item"]
    assert (first["arguments"], first["status"]) == ("", "in_progress")
    assert shapes(followed.output) == shapes(final)
    strictly(followed.events)


def test_an_item_only_the_response_holds_takes_the_place_it_has_there():
    final = [*items_of(reasoning()), *items_of(message(1, "Hi"))]

    followed = follow(whole(message(1, "Hi"), output=final))

    assert [item["type"] for item in followed.output] == ["reasoning", "message"]


def test_a_response_streamed_in_no_event_at_all_is_told_item_by_item():
    followed = follow(whole([], output=items_of(SAID)))

    assert told_items(followed) == [(0, "message")]
    assert shapes(followed.output) == shapes(items_of(SAID))


@pytest.mark.parametrize("output", [[], None])
def test_an_empty_response_holds_what_was_streamed(output: list[Event] | None):
    followed = follow(whole([*SAID, *CALLED], output=output))

    assert shapes(followed.output) == shapes(items_of([*SAID, *CALLED]))


@pytest.mark.parametrize("place", [0, 1])
def test_an_item_is_not_told_twice_for_another_id_or_place_in_the_response(place: int):
    told = [*reasoning(), *message(1, "Hi")]
    final = [{**item, "id": "other"} for item in items_of(told)][place:]

    assert len(follow(whole(told, output=final)).output) == 2


# Ends without a beginning


@pytest.mark.parametrize("name", sorted(STREAMS.keys() - {"audio"}))
def test_an_item_that_is_only_ended_is_begun_first(name: str):
    followed = follow(whole(STREAMS[name][-1:]))

    assert [e["type"] for e in followed.events[2:-1]] == [
        "response.output_item.added",
        "response.output_item.done",
    ]
    assert shapes(followed.output) == shapes(items_of(STREAMS[name]))
    strictly(followed.events)


# What nobody could follow


def changed(events: list[Event], at: int, **fields: Any) -> list[Event]:
    events = copy.deepcopy(events)
    events[at].update(fields)
    return events


BROKEN = {
    "a_delta_of_no_item": SAID[1:],
    "a_delta_of_another_index": changed(SAID, 2, output_index=3),
    "a_delta_of_no_part": [SAID[0], SAID[2]],
    "a_delta_of_another_part": changed(SAID, 2, content_index=1),
    "a_delta_of_a_negative_part": changed(SAID, 2, content_index=-1),
    "a_part_out_of_order": changed(SAID, 1, content_index=1),
    "text_in_a_refusal": [*STREAMS["message_refused"][:2], SAID[2]],
    "arguments_of_a_message": [
        SAID[0],
        event("function_call_arguments.delta", 0, item_id="x", delta="{"),
    ],
    "two_items_at_one_index": [*SAID, added({**SAID[0]["item"], "id": "msg_2"})],
    "an_item_that_changes_its_type": [SAID[0], done(CALLED[-1]["item"])],
    "a_call_that_changes_its_call_id": [
        CALLED[0],
        done({**CALLED[-1]["item"], "call_id": "call_2"}, 1),
    ],
    "two_calls_with_one_call_id": [*function_call(0, "{}"), *function_call(1, "{}")],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_nobody_could_follow_ends_as_failed(name: str):
    followed = follow(whole(BROKEN[name]))

    assert followed.failed is not None
    assert followed.failed.startswith("The model's answer could not be read: ")
    assert followed.events[-1]["type"] == "response.failed"


def test_a_fault_of_the_last_event_leaves_no_gap_in_the_numbers():
    calls = items_of(function_call(0, "{}"))

    followed = follow(whole([], output=[*calls, *calls]))

    assert followed.failed is not None
    assert [e["sequence_number"] for e in followed.events] == [0, 1, 2]


# Any stream at all

NAMES = sorted(STREAMS)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Some items, their events dropped, repeated and out of order, and any output at the end."""
    events: list[Event] = []
    for index, name in enumerate(draw(st.lists(st.sampled_from(NAMES), max_size=3))):
        for each in copy.deepcopy(STREAMS[name]):
            if "output_index" in each:
                each["output_index"] = index
            events.append(each)
    output = items_of(events)
    for _ in range(draw(st.integers(0, 3)) if events else 0):
        at, other = (draw(st.integers(0, len(events) - 1)) for _ in range(2))
        match draw(st.integers(0, 2)):
            case 0:
                events = events[:at] + events[at + 1 :] or events
            case 1:
                events.insert(other, copy.deepcopy(events[at]))
            case _:
                events[at], events[other] = events[other], events[at]
    kept = draw(st.sampled_from([output, output[1:], output[:1], [], None]))
    status = draw(st.sampled_from(["completed", "incomplete", "failed"]))
    stream = whole(events, status, output=kept)
    return stream[:-1] if draw(st.booleans()) and draw(st.booleans()) else stream


@PROPERTY
@given(streams())
def test_whatever_the_upstream_says_the_sdk_follows_and_nothing_told_is_lost(upstream):
    followed = follow(upstream)

    strictly(followed.events)
    begun = {e["item"]["id"] for e in named(followed, "output_item.added")}
    if followed.events[-1]["type"] == "response.failed":
        assert {item["id"] for item in followed.output} <= begun
    else:
        ended = {e["item"]["id"] for e in named(followed, "output_item.done")}
        assert begun == ended == {item["id"] for item in followed.output}
