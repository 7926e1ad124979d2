"""What is taken of an upstream's events, what is filled in, and what is not taken."""

import json

import msgspec
import pytest

from schemas.http import event_types
from services.model import upstream_events
from services.model.upstream_events import Beginning, Dropped, End, Failure, item, read
from tests.builders import plain, raw
from tests.told_streams import STREAMS, Event, event, function_call, message, response, text_part

EXAMPLES = {each["type"]: each for events in STREAMS.values() for each in events}
DELTA = message(0, "Hi")[2]


def taken(given: Event) -> Event:
    """The event as it is relayed, decoded."""
    fields = read(json.dumps(given))
    assert isinstance(fields, dict)
    return {name: plain(value) for name, value in fields.items()}


@pytest.mark.parametrize("name", event_types.TYPES)
def test_a_known_event_is_taken_as_it_is(name: str):
    assert taken(EXAMPLES[name]) == EXAMPLES[name]


@pytest.mark.parametrize("name", event_types.TYPES)
def test_a_known_event_without_a_field_clients_need_is_not_well_formed(name: str):
    for field in set(event_types.TYPES[name].fields) - {"item_id", "logprobs"}:
        lacking = {key: value for key, value in EXAMPLES[name].items() if key != field}
        with pytest.raises(msgspec.ValidationError):
            read(json.dumps(lacking))


@pytest.mark.parametrize("name", event_types.TYPES)
@pytest.mark.parametrize("wrong", [True, 1.5, ["x"]], ids=["boolean", "decimal", "array"])
def test_a_known_event_with_a_value_of_another_kind_is_not_well_formed(name: str, wrong: object):
    for field in event_types.TYPES[name].fields:
        if field == "output" and isinstance(wrong, list):
            wrong = ["no object"]
        if field == "logprobs" and isinstance(wrong, list):
            continue
        with pytest.raises(msgspec.ValidationError):
            read(json.dumps({**EXAMPLES[name], field: wrong}))


@pytest.mark.parametrize("missing", ["item_id", "logprobs", "sequence_number"])
def test_what_an_upstream_may_leave_out_is_filled_in_where_it_belongs(missing: str):
    lacking = {key: value for key, value in DELTA.items() if key != missing}

    filled = taken(lacking)

    assert list(filled) == list(DELTA)
    assert filled["logprobs"] == []


def test_no_list_of_likelihoods_is_an_empty_one():
    assert taken({**DELTA, "logprobs": None})["logprobs"] == []


def test_events_that_name_no_item_get_none():
    command = EXAMPLES["response.shell_call_command.delta"]
    assert "item_id" not in taken({**command, "sequence_number": None})


PART = {"type": "output_text", "text": "Hi"}
WRITTEN = {"id": "m", "type": "message", "status": "completed", "role": "assistant"}


@pytest.mark.parametrize(
    "part", [PART, {**PART, "annotations": None}, {**PART, "logprobs": None}, text_part("Hi")]
)
def test_a_text_has_its_two_lists(part: Event):
    (filled,) = plain(item(raw({**WRITTEN, "content": [part]})))["content"]
    added = taken({**message(0, "Hi")[1], "part": part})

    assert filled == added["part"] == text_part("Hi")


@pytest.mark.parametrize(
    ("lacking", "field", "empty"),
    [
        (WRITTEN, "content", []),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "arguments", ""),
        ({"type": "custom_tool_call", "call_id": "c", "name": "f"}, "input", ""),
        ({"type": "mcp_call", "name": "f", "server_label": "s"}, "arguments", ""),
        ({"type": "reasoning"}, "summary", []),
    ],
)
def test_an_item_that_grows_has_what_it_grows_from(lacking: Event, field: str, empty: object):
    for given in (lacking, {**lacking, field: None}):
        assert plain(item(raw(given)))[field] == empty
        assert taken(event("output_item.added", 0, item=given))["item"][field] == empty


@pytest.mark.parametrize("name", sorted(STREAMS.keys() - {"audio"}))
def test_a_whole_item_is_carried_as_its_bytes(name: str):
    written = raw(STREAMS[name][-1]["item"])
    assert item(written) is written


@pytest.mark.parametrize("name", ["created", "in_progress", "queued"])
def test_what_is_said_of_the_upstreams_own_response_is_not_relayed(name: str):
    assert isinstance(read(json.dumps(event(name, response=response(name, [])))), Beginning)


@pytest.mark.parametrize("name", ["completed", "incomplete", "failed"])
def test_a_terminal_event_carries_its_response(name: str):
    told = response(name, [])
    end = read(json.dumps(event(name, response=told)))
    assert isinstance(end, End)
    assert plain(end.response) == told


@pytest.mark.parametrize(
    "unknown",
    [
        {"type": "keepalive", "sequence_number": 3},
        {"type": "response.steer.accepted", "steer": {"id": "steer_1"}},
        {"type": "response.steer.pending", "reason": "waiting_for_required_input"},
        {"type": "response.hologram.delta", "output_index": "x", "delta": 5},
        {"type": "response.output_text.delta2", "delta": 5},
        {"type": ""},
        {"type": 5},
        {"type": None},
        {"type": ["response.created"]},
        {},
    ],
    ids=str,
)
def test_what_nobody_knows_is_dropped(unknown: Event):
    assert isinstance(read(json.dumps(unknown)), Dropped)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "error", "message": "No", "code": "x"}, Failure("x", "No")),
        ({"type": "error", "error": {"message": "No", "code": "x"}}, Failure("x", "No")),
        ({"type": "error", "error": {"message": "No", "code": 500}}, Failure(None, "No")),
        ({"type": "error", "error": "No"}, Failure(None, "No")),
        ({"type": "error", "code": None, "message": None}, Failure(None, None)),
        ({"type": "error"}, Failure(None, None)),
        ({"error": {"message": "No"}}, Failure(None, "No")),
        ({"error": "No"}, Failure(None, "No")),
    ],
    ids=str,
)
def test_an_error_is_told_in_the_upstreams_words(given: Event, expected: Failure):
    assert read(json.dumps(given)) == expected


@pytest.mark.parametrize("data", ["", "{", "5", "null", "[]", '"x"', '{"type":"error"', "<html>"])
def test_what_is_no_event_at_all_is_not_well_formed(data: str):
    with pytest.raises(msgspec.MsgspecError):
        read(data)


def test_a_terminal_event_without_a_response_is_not_well_formed():
    with pytest.raises(msgspec.ValidationError):
        read('{"type":"response.completed"}')


def test_the_most_frequent_events_are_read_without_being_changed():
    for given in (DELTA, function_call(0, "{}")[1]):
        assert list(taken(given)) == list(given)
        assert upstream_events.read(json.dumps(given)) == {
            name: raw(value) for name, value in given.items()
        }
