import json

import pytest

from schemas import events as e
from schemas.http import stream_events
from services.conversation import commands as c
from services.conversation.decide import before_input
from services.conversation.history import Item
from services.conversation.refusals import AttemptSuperseded, NotCancellable, ResponseUnknown
from services.conversation.retelling import retold
from services.conversation.visible import readable_response, visible_item, visible_response
from tests.builders import (
    CONVERSATION_ID,
    added,
    call,
    cancelled,
    complete,
    completed,
    created,
    failed,
    ids_of,
    listed,
    message,
    reasoning,
    request,
    requested,
    said,
    state_of,
)
from tests.specification import given

BACKGROUND = b'{"model":"m","background":true,"stream":true}'


def running(*items: Item, **more: bool):
    return requested("resp_1", *items, parameters=BACKGROUND, **more)


def test_a_turn_in_the_background_is_cancelled_with_what_it_had_said():
    history = given(created(), running(message("msg_1")))
    half = said("msg_2")
    after = history.when(c.CancelTurn(response_id="resp_1", items=(half,))).then(
        cancelled("resp_1", [half])
    )
    turn = visible_response(after.state, "resp_1")
    assert (turn.status, ids_of(turn.output)) == ("cancelled", ["msg_2"])
    assert listed(after.state) == []
    assert after.state.turn_on_line is None
    after.when(c.CancelTurn(response_id="resp_1")).then()
    after.when(complete("resp_1", said("msg_3"))).refuses(AttemptSuperseded)


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([requested("resp_1")], "a synchronous"),
        ([requested("resp_1"), completed("resp_1")], "a synchronous"),
        ([running(), completed("resp_1")], "a completed"),
        ([running(), completed("resp_1", status="incomplete")], "an incomplete"),
        ([running(), failed("resp_1")], "a failed"),
    ],
)
def test_what_has_ended_or_is_waited_for_is_not_cancelled(history, words):
    refused = (
        given(created(), *history).when(c.CancelTurn(response_id="resp_1")).refuses(NotCancellable)
    )
    assert (refused.status, refused.param, refused.code, refused.message) == (
        400,
        None,
        None,
        f"Cannot cancel {words} response.",
    )


@pytest.mark.parametrize(
    "history",
    [
        [],
        [running(), completed("resp_1"), e.ResponseDeleted(response_id="resp_1")],
        [running(store=False)],
    ],
    ids=["unknown", "deleted", "unstored"],
)
def test_what_clients_cannot_read_is_not_cancelled(history):
    command = c.CancelTurn(response_id="resp_1")
    given(created(), *history).when(command).refuses(ResponseUnknown)


def test_only_a_running_turn_in_the_background_can_be_read():
    assert readable_response(state_of(created(), running()), "resp_1").status == "in_progress"
    assert readable_response(state_of(created(), requested("resp_1")), "resp_1") is None
    assert readable_response(state_of(created(), running(store=False)), "resp_1") is None
    ended = state_of(created(), requested("resp_1"), completed("resp_1"))
    assert readable_response(ended, "resp_1").status == "completed"


@pytest.mark.parametrize("end", [cancelled, failed])
def test_what_a_turn_had_said_that_did_not_end_well_is_in_no_window(end):
    state = state_of(
        created(hidden=True),
        requested("resp_1", message("msg_1"), on_line=False),
        end("resp_1", [call("call_1")]),
    )
    assert ids_of(before_input(state, on_line=False, parent="resp_1")) == ["msg_1"]
    history = given(created(hidden=True), requested("resp_1", on_line=False), end("resp_1"))
    history.when(request("resp_2", message("msg_2"), on_line=False, parent="resp_1")).then(
        requested("resp_2", message("msg_2"), on_line=False, parent="resp_1")
    )


def test_a_turn_knows_the_line_it_was_given():
    state = state_of(
        created(),
        added(message("msg_1")),
        requested("resp_1", message("msg_2")),
        added(message("msg_3")),
        completed("resp_1", said("msg_4")),
    )
    turn = state.turns.get("resp_1")
    assert (turn.line_start, turn.line_end) == (1, 4)
    assert ids_of(before_input(state, on_line=True, parent=None, end=turn.line_start)) == ["msg_1"]


def test_an_item_is_found_on_the_line_and_in_turns_beside_it():
    state = state_of(
        created(),
        added(message("msg_1"), message("msg_gone")),
        requested("resp_1", message("msg_2")),
        completed("resp_1", said("msg_3")),
        requested("resp_2", message("msg_4"), on_line=False, parent="resp_1"),
        completed("resp_2", said("msg_5")),
        requested("resp_3", message("msg_6"), on_line=False, store=False),
        completed("resp_3", said("msg_7")),
        requested("resp_4", message("msg_8"), on_line=False),
        failed("resp_4", [said("msg_9")]),
        e.ItemDeleted(item_id="msg_gone"),
        e.ItemDeleted(item_id="msg_3"),
    )
    found = {f"msg_{n}" for n in range(1, 10) if visible_item(state, f"msg_{n}")}
    assert found == {"msg_1", "msg_2", "msg_4", "msg_5", "msg_8"}
    assert visible_item(state, "msg_gone") is None


def test_of_a_deleted_conversation_only_items_of_responses_are_found():
    state = state_of(
        created(),
        added(message("msg_1"), message("msg_2")),
        requested("resp_1", message("msg_3")),
        completed("resp_1", said("msg_4")),
        requested("resp_2", message("msg_5"), store=False),
        completed("resp_2", said("msg_6")),
        e.ItemDeleted(item_id="msg_3"),
        e.ConversationDeleted(),
    )

    found = {f"msg_{n}" for n in range(1, 7) if visible_item(state, f"msg_{n}")}

    assert found == {"msg_4"}


def decoded(frames):
    return [json.loads(stream_events.data(frame)) for frame in frames]


def test_an_ended_turn_is_told_again_in_order_and_whole():
    state = state_of(
        created(),
        running(message("msg_1")),
        completed("resp_1", reasoning("rs_1"), said("msg_2", "Hello"), call("call_1")),
    )
    events = decoded(retold(state.turns.get("resp_1"), conversation_id=CONVERSATION_ID))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "queued",
        "in_progress",
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [events[n]["response"]["status"] for n in (0, 1, 2, -1)] == [
        "queued",
        "queued",
        "in_progress",
        "completed",
    ]
    assert events[0]["response"]["output"] == []
    assert events[6]["part"]["text"] == ""
    assert (events[7]["text"], events[10]["item"]["arguments"]) == ("Hello", "")
    for event in events:
        assert list(event) == ["type", *sorted(set(event) - {"type"})]
