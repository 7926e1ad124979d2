import msgspec
import pytest

from schemas import events as e
from services.conversation import commands as c
from services.conversation.decide import before_input
from services.conversation.refusals import (
    AttemptSuperseded,
    ConversationLocked,
    ConversationUnknown,
    DuplicateItem,
    PreviousResponseUnknown,
    ToolCallMissing,
    ToolOutputMissing,
)
from services.conversation.visible import visible_response
from tests.builders import (
    added,
    call,
    complete,
    completed,
    created,
    fail,
    failed,
    ids_of,
    listed,
    message,
    output,
    reasoning,
    request,
    requested,
    said,
    state_of,
)
from tests.specification import given


def words(refused):
    return (refused.status, refused.param, refused.code, refused.message)


# Admission


def test_a_turn_on_the_line_is_admitted():
    given(created()).when(request("resp_1", message("msg_1"))).then(
        requested("resp_1", message("msg_1"))
    )


def test_a_turn_on_its_own_begins_a_hidden_conversation():
    command = request("resp_1", message("msg_1"), on_line=False)
    given().when(command).then(
        created(hidden=True), requested("resp_1", message("msg_1"), on_line=False)
    )


@pytest.mark.parametrize("history", [(), (created(hidden=True),)], ids=["unknown", "hidden"])
def test_a_turn_needs_a_conversation_that_clients_can_see(history):
    given(*history).when(request("resp_1", message("msg_1"))).refuses(ConversationUnknown)


def test_one_turn_runs_on_the_line():
    history = given(created(), requested("resp_1", message("msg_1")))
    refused = history.when(request("resp_2", message("msg_2"))).refuses(ConversationLocked)
    assert words(refused) == (
        400,
        "conversation",
        "conversation_locked",
        (
            "Another process is currently operating on this conversation. "
            "Please retry in a few seconds."
        ),
    )


@pytest.mark.parametrize("end", [completed("resp_1"), failed("resp_1")], ids=["ended", "failed"])
def test_the_line_is_free_again_when_its_turn_has_ended(end):
    history = given(created(), requested("resp_1", message("msg_1")), end)
    history.when(request("resp_2", message("msg_2"))).then(requested("resp_2", message("msg_2")))


@pytest.mark.parametrize(
    "history",
    [
        (requested("resp_1", message("msg_1")),),
        (requested("resp_1", message("msg_1")), completed("resp_1", said("msg_2"))),
        (requested("resp_1", message("msg_1")), failed("resp_1")),
    ],
    ids=["running", "completed", "failed"],
)
def test_a_turn_requested_again_is_the_same_turn(history):
    given(created(), *history).when(request("resp_1", message("msg_1"))).then()


# Chains


CHAIN = (
    created(hidden=True),
    requested("resp_1", message("msg_1"), on_line=False),
    completed("resp_1", said("msg_2")),
)


def test_a_chain_branches_freely_and_branches_run_at_once():
    first = request("resp_2", message("msg_3"), on_line=False, parent="resp_1")
    second = request("resp_3", message("msg_4"), on_line=False, parent="resp_1")
    running = (
        given(*CHAIN)
        .when(first)
        .then(requested("resp_2", message("msg_3"), on_line=False, parent="resp_1"))
    )
    running.when(second).then(requested("resp_3", message("msg_4"), on_line=False, parent="resp_1"))


def test_a_branch_sees_its_own_ancestors_only():
    state = state_of(
        *CHAIN,
        requested("resp_2", message("msg_3"), on_line=False, parent="resp_1"),
        completed("resp_2", said("msg_4")),
        requested("resp_3", message("msg_5"), on_line=False, parent="resp_1"),
        completed("resp_3", said("msg_6")),
    )
    seen = before_input(state, on_line=False, parent="resp_3")
    assert ids_of(seen) == ["msg_1", "msg_2", "msg_5", "msg_6"]
    assert ids_of(before_input(state, on_line=False, parent=None)) == []


def test_two_branches_may_use_the_same_item_id():
    state = (
        *CHAIN,
        requested("resp_2", message("msg_3"), on_line=False, parent="resp_1"),
        completed("resp_2", said("msg_4")),
    )
    given(*state).when(request("resp_3", message("msg_3"), on_line=False, parent="resp_1")).then(
        requested("resp_3", message("msg_3"), on_line=False, parent="resp_1")
    )


@pytest.mark.parametrize(
    ("history", "why"),
    [
        (CHAIN[:1], "not found"),
        (CHAIN[:2], "is still in progress"),
        ((*CHAIN, e.ResponseDeleted(response_id="resp_1")), "not found"),
        (
            (
                created(),
                requested("resp_1", message("msg_1"), store=False),
                completed("resp_1", said("msg_2")),
            ),
            "not found",
        ),
        ((), "not found"),
    ],
    ids=["unknown", "running", "deleted", "unstored", "no_conversation"],
)
def test_a_parent_must_be_a_stored_response_that_has_ended(history, why):
    command = request("resp_2", message("msg_3"), on_line=False, parent="resp_1")
    refused = given(*history).when(command).refuses(PreviousResponseUnknown)
    assert words(refused) == (
        400,
        "previous_response_id",
        "previous_response_not_found",
        f"Previous response with id 'resp_1' {why}.",
    )


def test_a_turn_that_names_no_model_goes_on_with_that_of_its_parent():
    asked = requested("resp_1", message("msg_1"), on_line=False)
    answered = msgspec.structs.replace(completed("resp_1", said("msg_2")), model="simulator-2")
    child = request("resp_2", message("msg_3"), on_line=False, parent="resp_1")
    admitted = requested("resp_2", message("msg_3"), on_line=False, parent="resp_1")

    given(created(hidden=True), asked, answered).when(
        msgspec.structs.replace(child, model=None)
    ).then(msgspec.structs.replace(admitted, model="simulator-2"))


def test_deleting_a_parent_leaves_its_children_their_history():
    state = state_of(
        *CHAIN,
        requested("resp_2", message("msg_3"), on_line=False, parent="resp_1"),
        completed("resp_2", said("msg_4")),
        e.ResponseDeleted(response_id="resp_1"),
    )
    seen = before_input(state, on_line=False, parent="resp_2")
    assert ids_of(seen) == ["msg_1", "msg_2", "msg_3", "msg_4"]


CONVERSATION = (
    created(),
    added(message("msg_1")),
    requested("resp_1", message("msg_2")),
    completed("resp_1", said("msg_3")),
)


def test_a_child_of_a_conversations_response_sees_the_line_up_to_it_and_does_not_write_to_it():
    child = request("resp_2", message("msg_5"), on_line=False, parent="resp_1")
    done = (
        given(*CONVERSATION, added(message("msg_4")))
        .when(child)
        .then(requested("resp_2", message("msg_5"), on_line=False, parent="resp_1"))
        .when(complete("resp_2", said("msg_6")))
        .then(completed("resp_2", said("msg_6")))
    )
    assert listed(done.state) == ["msg_1", "msg_2", "msg_3", "msg_4"]
    seen = before_input(done.state, on_line=False, parent="resp_2")
    assert ids_of(seen) == ["msg_1", "msg_2", "msg_3", "msg_5", "msg_6"]


def test_a_chain_runs_beside_the_turn_on_the_line():
    running = given(*CONVERSATION, requested("resp_2", message("msg_4")))
    child = request("resp_3", message("msg_5"), on_line=False, parent="resp_1")
    running.when(child).then(requested("resp_3", message("msg_5"), on_line=False, parent="resp_1"))
    chained = given(
        *CONVERSATION, requested("resp_3", message("msg_5"), on_line=False, parent="resp_1")
    )
    chained.when(request("resp_2", message("msg_4"))).then(requested("resp_2", message("msg_4")))


def test_items_deleted_from_the_line_are_gone_from_chains_that_start_there():
    state = state_of(*CONVERSATION, e.ItemDeleted(item_id="msg_1"))
    assert ids_of(before_input(state, on_line=False, parent="resp_1")) == ["msg_2", "msg_3"]


def test_a_child_of_a_failed_response_keeps_the_history_before_it():
    state = state_of(
        created(), added(message("msg_1")), requested("resp_1", message("msg_2")), failed("resp_1")
    )
    seen = before_input(state, on_line=False, parent="resp_1")
    assert ids_of(seen) == ["msg_1", "msg_2"]


# Pairing


def test_an_output_may_answer_a_call_anywhere_in_the_window():
    history = given(
        created(),
        requested("resp_1", message("msg_1")),
        completed("resp_1", call("call_1")),
        added(message("msg_2")),
    )
    history.when(request("resp_2", output("call_1"))).then(requested("resp_2", output("call_1")))


def test_an_output_without_its_call_is_refused():
    refused = given(created()).when(request("resp_1", output("call_1"))).refuses(ToolCallMissing)
    assert words(refused) == (
        400,
        "input",
        None,
        "No tool call found for function call output with call_id call_1.",
    )


def test_a_call_without_its_output_is_refused():
    history = given(
        created(), requested("resp_1", message("msg_1")), completed("resp_1", call("call_1"))
    )
    refused = history.when(request("resp_2", message("msg_2"))).refuses(ToolOutputMissing)
    assert words(refused) == (
        400,
        "input",
        None,
        "No tool output found for function call call_1.",
    )


def test_parallel_calls_are_answered_together_and_the_first_one_missing_is_named():
    history = given(
        created(),
        requested("resp_1", message("msg_1")),
        completed("resp_1", call("call_1"), call("call_2"), call("call_3")),
    )
    refused = history.when(request("resp_2", output("call_1"))).refuses(ToolOutputMissing)
    assert refused.message == "No tool output found for function call call_2."
    outputs = (output("call_3"), output("call_1"), output("call_2"))
    history.when(request("resp_2", *outputs)).then(requested("resp_2", *outputs))


def test_pairs_may_come_whole_in_the_input_of_any_turn():
    pair = (call("call_1"), output("call_1"))
    given().when(request("resp_1", *pair, on_line=False)).then(
        created(hidden=True), requested("resp_1", *pair, on_line=False)
    )


def test_deleting_a_dangling_call_unblocks_the_conversation():
    history = given(
        created(),
        requested("resp_1", message("msg_1")),
        completed("resp_1", call("call_1")),
        e.ItemDeleted(item_id="fc_call_1"),
    )
    history.when(request("resp_2", message("msg_2"))).then(requested("resp_2", message("msg_2")))


def test_pairing_holds_along_a_chain():
    history = (
        created(hidden=True),
        requested("resp_1", message("msg_1"), on_line=False),
        completed("resp_1", call("call_1")),
    )
    given(*history).when(
        request("resp_2", message("msg_2"), on_line=False, parent="resp_1")
    ).refuses(ToolOutputMissing)
    given(*history).when(request("resp_2", output("call_1"), on_line=False, parent="resp_1")).then(
        requested("resp_2", output("call_1"), on_line=False, parent="resp_1")
    )


@pytest.mark.parametrize(
    "repeated",
    [(message("msg_1"),), (message("msg_9"), message("msg_9")), (said("msg_3"),)],
    ids=["input_again", "twice_in_one_input", "output_again"],
)
def test_an_item_that_is_already_in_the_window_is_refused(repeated):
    given(*CONVERSATION).when(request("resp_2", *repeated)).refuses(DuplicateItem)


def test_an_item_that_left_the_window_may_be_sent_again():
    history = given(*CONVERSATION, e.ItemDeleted(item_id="msg_1"))
    history.when(request("resp_2", message("msg_1"))).then(requested("resp_2", message("msg_1")))


# Attempts and ends


RUNNING = (created(), added(message("msg_1")), requested("resp_1", message("msg_2")))


def test_nothing_of_a_running_turn_shows():
    state = state_of(*RUNNING)
    assert listed(state) == ["msg_1"]
    assert ids_of(state.window()) == ["msg_1"]
    assert visible_response(state, "resp_1") is None


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_input_and_output_join_the_line_together_at_the_end(status):
    done = (
        given(*RUNNING)
        .when(complete("resp_1", reasoning("rs_1"), said("msg_3"), status=status))
        .then(completed("resp_1", reasoning("rs_1"), said("msg_3"), status=status))
    )
    assert listed(done.state) == ["msg_1", "msg_2", "rs_1", "msg_3"]
    assert done.state.running == ()
    assert visible_response(done.state, "resp_1").status == status


def test_items_added_while_a_turn_ran_stand_before_it():
    done = given(*RUNNING, added(message("msg_9")), completed("resp_1", said("msg_3")))
    assert listed(done.state) == ["msg_1", "msg_9", "msg_2", "msg_3"]


def test_nothing_of_a_failed_turn_joins_the_line():
    done = given(*RUNNING).when(fail("resp_1")).then(failed("resp_1"))
    assert listed(done.state) == ["msg_1"]
    turn = visible_response(done.state, "resp_1")
    assert (turn.status, turn.error_code, turn.error_message, turn.output) == (
        "failed",
        "server_error",
        "The model failed.",
        (),
    )


def test_an_unstored_turn_joins_the_line_and_leaves_no_response():
    done = (
        given(created(), requested("resp_1", message("msg_1"), store=False))
        .when(complete("resp_1", said("msg_2")))
        .then(completed("resp_1", said("msg_2")))
    )
    assert listed(done.state) == ["msg_1", "msg_2"]
    assert visible_response(done.state, "resp_1") is None


@pytest.mark.parametrize(
    "end",
    [complete("resp_1", said("msg_3")), fail("resp_1")],
    ids=["complete", "fail"],
)
@pytest.mark.parametrize(
    "history",
    [(), (created(),), (*RUNNING, completed("resp_1")), (*RUNNING, failed("resp_1"))],
    ids=["nothing", "never_requested", "completed", "failed"],
)
def test_a_turn_that_does_not_run_cannot_end(history, end):
    given(*history).when(end).refuses(AttemptSuperseded)


def test_a_late_worker_is_fenced_once_another_attempt_has_begun():
    taken = (
        given(*RUNNING)
        .when(c.StartAttempt(response_id="resp_1", attempt=2, responder="b"))
        .then(e.TurnStarted(response_id="resp_1", attempt=2, responder="b"))
    )
    taken.when(complete("resp_1", said("msg_3"), attempt=1)).refuses(AttemptSuperseded)
    taken.when(fail("resp_1", attempt=1)).refuses(AttemptSuperseded)
    taken.when(complete("resp_1", said("msg_3"), attempt=2)).then(
        completed("resp_1", said("msg_3"))
    )


@pytest.mark.parametrize("attempt", [0, 1, 2])
def test_an_attempt_begins_only_after_the_one_before(attempt):
    history = given(*RUNNING, e.TurnStarted(response_id="resp_1", attempt=2, responder="b"))
    history.when(c.StartAttempt(response_id="resp_1", attempt=attempt, responder="c")).refuses(
        AttemptSuperseded
    )


def test_an_attempt_from_the_future_cannot_end_a_turn():
    given(*RUNNING).when(complete("resp_1", said("msg_3"), attempt=2)).refuses(AttemptSuperseded)


def test_an_attempt_at_a_turn_that_has_ended_is_refused():
    command = c.StartAttempt(response_id="resp_1", attempt=2, responder="b")
    given(*RUNNING, completed("resp_1")).when(command).refuses(AttemptSuperseded)


def test_a_turn_ends_in_a_conversation_that_was_deleted_meanwhile():
    history = given(*RUNNING, e.ConversationDeleted())
    history.when(complete("resp_1", said("msg_3"))).then(completed("resp_1", said("msg_3")))
