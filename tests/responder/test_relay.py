"""The upstream's events become the contract's: our ids, our numbers, one end."""

import json
from pathlib import Path

import msgspec
import pytest

from services.model import Answer
from tests.builders import plain, raw
from tests.responder.following import (
    BEGUN,
    CLASSES,
    answered,
    decoded,
    fields,
    follow,
    listen,
    relay,
    strictly,
)
from tests.told_streams import STREAMS, Event, event, function_call, items_of, message, whole

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"
CALL = {
    "id": "x",
    "type": "function_call",
    "arguments": "{}",
    "call_id": "call_1",
    "name": "f",
}


def answer(*items: Event) -> Answer:
    return answered({"status": "completed", "output": items, "usage": {}, "model": "m"})


def told_of(events: list[Event]) -> list[Event]:
    told = relay()
    return decoded(b"".join(told.frame(fields(event)) for event in events))


def test_events_are_numbered_from_zero_without_gaps():
    told = relay()

    frames = told.opened(b'{"id":"resp_1"}')
    frames += b"".join(told.frame(fields(event)) for event in message(0, "Hi"))
    frames += told.ended("completed", b'{"id":"resp_1"}')

    numbers = [event["sequence_number"] for event in decoded(frames)]
    assert numbers == list(range(len(message(0, "Hi")) + 3))


def test_an_item_has_one_id_of_ours_in_every_event():
    events = told_of([*message(0, "Hi"), *function_call(1, "{}")])

    for index, ours in enumerate(("msg_1", "fc_2")):
        mine = [event for event in events if event["output_index"] == index]
        assert {event.get("item_id") or event["item"]["id"] for event in mine} == {ours}


@pytest.mark.parametrize("name", STREAMS)
def test_every_event_is_told_with_all_its_fields_and_only_its_ids_and_numbers_changed(name: str):
    told = told_of(STREAMS[name])

    strictly(told)
    for heard, upstream in zip(told, STREAMS[name], strict=True):
        assert list(heard) == list(upstream)
        for field in upstream.keys() - {"item_id", "item", "sequence_number"}:
            assert heard[field] == upstream[field]
        if "item" in upstream:
            assert heard["item"] == {**upstream["item"], "id": heard["item"]["id"]}
            assert list(heard["item"]) == list(upstream["item"])


def test_the_streams_of_the_tests_hold_every_type_the_sdk_has():
    told = {event["type"] for events in STREAMS.values() for event in whole(events)}

    assert CLASSES.keys() - told == {
        "response.queued",
        "response.failed",
        "response.incomplete",
        "error",
    }


@pytest.mark.parametrize("status", ["completed", "incomplete"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_sdk_follows_every_stream_to_an_output_with_all_items(name: str, status: str):
    followed = follow(whole(STREAMS[name], status))

    assert followed.failed is None
    assert [{**item, "id": ""} for item in followed.output] == [
        {**item, "id": ""} for item in items_of(STREAMS[name])
    ]


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("stream_*.json")))
def test_recorded_streams_are_told_as_they_were_recorded(name: str):
    recorded = json.loads((SAMPLES / name).read_bytes())

    followed = follow(recorded)

    ours = [each["type"] for each in followed.events]
    # Errors are told by the last event alone, and a queue of the upstream's is not ours.
    theirs = [e["type"] for e in recorded if e["type"] not in {"error", "response.queued"}]
    assert ours == theirs
    for told, upstream in zip(followed.output, items_of(recorded), strict=False):
        assert {**told, "id": "", "status": ""} == {**upstream, "id": "", "status": ""}


def test_what_was_told_as_done_is_the_output_and_not_what_the_upstream_repeats():
    told = relay()
    for upstream in message(0, "Hi"):
        told.frame(fields(upstream))

    (item,) = told.output(answer({"id": "other", "type": "message", "content": []}))

    assert msgspec.json.decode(item) == {**message(0, "Hi")[-1]["item"], "id": "msg_1"}


def test_the_output_of_a_plain_answer_gets_ids_of_ours():
    (item,) = relay().output(answer(CALL))

    assert msgspec.json.decode(item) == {**CALL, "id": "fc_1", "status": "completed"}


@pytest.mark.parametrize("upstream", [None, ""])
def test_an_upstream_may_give_an_item_no_id(upstream: str | None):
    (item,) = relay().output(answer({**CALL, "id": upstream}))

    assert msgspec.json.decode(item)["id"] == "fc_1"


def test_an_item_that_begins_without_a_status_is_in_progress():
    begun = {name: value for name, value in CALL.items() if name != "id"}

    (added,) = told_of([event("output_item.added", 0, item={**begun, "arguments": ""})])

    assert added["item"]["status"] == "in_progress"


def test_a_response_that_neither_completed_nor_is_incomplete_ends_as_failed():
    assert [
        decoded(relay().ended(status, b"{}"))[0]["type"]
        for status in ("completed", "incomplete", "failed", "cancelled")
    ] == ["response.completed", "response.incomplete", "response.failed", "response.failed"]


def test_our_number_stands_where_the_upstreams_stood():
    (told,) = told_of([event("audio.delta", delta="x", zebra=1)])

    assert list(told) == ["type", "delta", "sequence_number", "zebra"]


def test_a_stream_begins_with_a_response_that_has_said_nothing():
    assert [event["response"] for event in follow(whole([])).events[:2]] == [BEGUN, BEGUN]


SUMMARY = {"id": "cmp_1", "type": "compaction", "encrypted_content": "abc"}


def test_a_summary_comes_first_and_the_answer_behind_it():
    told = relay()
    said = message(0, "Hi")

    frames = told.opened(json.dumps(BEGUN).encode()) + told.compacting("cmp_1")
    frames += told.compacting("cmp_1") + told.compacted(raw(SUMMARY))
    for each in said[:-1]:
        frames += told.frame(fields(each))
    partial = [plain(item)["id"] for item in told.partial()]
    frames += told.closed(answer(*items_of(said), *items_of(function_call(1, "{}"))))
    output = [plain(item) for item in told.output(answer())]
    frames += told.ended("completed", json.dumps({**BEGUN, "output": output}).encode())
    events = decoded(frames)
    listen(events)

    assert [event["type"].removeprefix("response.") for event in events[2:6]] == [
        "output_item.added",
        "compaction.compacting",
        "compaction.compacting",
        "output_item.done",
    ]
    indexes = [event["output_index"] for event in events[2:-1]]
    assert indexes == [0] * 4 + [1] * len(said) + [2] * 2
    assert [event.get("item_id") for event in events[3:5]] == ["cmp_1", "cmp_1"]
    assert partial == ["cmp_1", "msg_1"]
    assert [item["id"] for item in output] == ["cmp_1", "msg_1", "fc_2"]


def test_a_summary_that_was_not_made_is_no_output():
    told = relay()
    told.compacting("cmp_1")
    assert told.partial() == ()


def test_a_summary_comes_first_in_an_answer_nobody_was_told_of():
    told = relay()
    told.put_first(raw(SUMMARY))
    output = told.output(answer(*items_of(message(0, "Hi"))))

    assert told.partial() == (raw(SUMMARY),)
    assert [plain(item)["id"] for item in output] == ["cmp_1", "msg_1"]
    assert told.number == 0
