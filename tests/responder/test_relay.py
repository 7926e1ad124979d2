"""The upstream's events become the contract's: our ids, our numbers, one end."""

import itertools

import msgspec

from services.responder.relay import Relay


def relay() -> Relay:
    numbers = itertools.count(1)
    return Relay(lambda prefix: f"{prefix}_{next(numbers)}")


def fields(event: dict[str, object]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in event.items()}


def decoded(frame: bytes) -> list[dict[str, object]]:
    events = []
    for part in frame.decode().split("\n\n")[:-1]:
        name, data = part.split("\n")
        value = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        events.append(value)
    return events


ADDED = {
    "type": "response.output_item.added",
    "item": {"id": "upstream-7", "type": "message", "content": [], "role": "assistant"},
    "output_index": 0,
    "sequence_number": 41,
}
DELTA = {
    "type": "response.output_text.delta",
    "content_index": 0,
    "delta": "Hi",
    "item_id": "upstream-7",
    "output_index": 0,
    "sequence_number": 42,
}
DONE = {
    "type": "response.output_item.done",
    "item": {
        "id": "upstream-7",
        "type": "message",
        "status": "completed",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "Hi"}],
        "role": "assistant",
    },
    "output_index": 0,
    "sequence_number": 43,
}


def test_events_are_numbered_from_zero_without_gaps():
    told = relay()

    frames = told.opened(b'{"id":"resp_1"}')
    frames += b"".join(told.frame(fields(event)) for event in (ADDED, DELTA, DONE))
    frames += told.ended("completed", b'{"id":"resp_1"}')

    assert [event["sequence_number"] for event in decoded(frames)] == [0, 1, 2, 3, 4, 5]


def test_an_item_has_one_id_of_ours_in_every_event():
    told = relay()

    added, delta, done = (decoded(told.frame(fields(event)))[0] for event in (ADDED, DELTA, DONE))

    assert added["item"]["id"] == delta["item_id"] == done["item"]["id"] == "msg_1"


def test_what_was_told_as_done_is_the_output_and_not_what_the_upstream_repeats():
    told = relay()
    for event in (ADDED, DELTA, DONE):
        told.frame(fields(event))

    (item,) = told.output((msgspec.Raw(b'{"id":"other","type":"message"}'),))

    assert msgspec.json.decode(item) == {**DONE["item"], "id": "msg_1"}


def test_the_output_of_a_plain_answer_gets_ids_of_ours():
    call = b'{"id":"x","type":"function_call","arguments":"{}","call_id":"call_1","name":"f"}'

    (item,) = relay().output((msgspec.Raw(call),))

    assert msgspec.json.decode(item) == {
        "id": "fc_1",
        "type": "function_call",
        "arguments": "{}",
        "call_id": "call_1",
        "name": "f",
        "status": "completed",
    }


def test_a_response_that_neither_completed_nor_is_incomplete_ends_as_failed():
    assert [
        decoded(relay().ended(status, b"{}"))[0]["type"]
        for status in ("completed", "incomplete", "failed", "cancelled")
    ] == ["response.completed", "response.incomplete", "response.failed", "response.failed"]


def test_a_summary_comes_first_and_the_answer_behind_it():
    told = relay()
    item = msgspec.Raw(b'{"id":"cmp_1","type":"compaction","encrypted_content":"abc"}')

    frames = told.opened(b"{}") + told.compacting("cmp_1") + told.compacting("cmp_1")
    frames += told.compacted(item)
    for event in (ADDED, DELTA, DONE):
        frames += told.frame(fields(event))
    events = decoded(frames)

    assert [event["sequence_number"] for event in events] == list(range(9))
    assert [event["type"].removeprefix("response.") for event in events[2:6]] == [
        "output_item.added",
        "compaction.compacting",
        "compaction.compacting",
        "output_item.done",
    ]
    assert [event["output_index"] for event in events[2:]] == [0, 0, 0, 0, 1, 1, 1]
    assert [event.get("item_id") for event in events[3:5]] == ["cmp_1", "cmp_1"]
    assert [msgspec.json.decode(raw)["id"] for raw in told.output(())] == ["cmp_1", "msg_1"]


def test_a_summary_comes_first_in_an_answer_nobody_was_told_of():
    told = relay()
    item = msgspec.Raw(b'{"id":"cmp_1","type":"compaction","encrypted_content":"abc"}')
    told.put_first(item)
    answered = (msgspec.Raw(msgspec.json.encode(DONE["item"])),)

    assert [msgspec.json.decode(raw)["id"] for raw in told.partial()] == ["cmp_1"]
    assert [msgspec.json.decode(raw)["id"] for raw in told.output(answered)] == ["cmp_1", "msg_1"]
    assert told.number == 0
