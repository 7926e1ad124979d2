import json

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas import events as e
from services.conversation import commands as c
from services.conversation.budget import Policy
from services.conversation.compaction import plan
from services.conversation.decide import before_input, decide
from services.conversation.history import since_summary
from services.conversation.refusals import NothingToCompact, Refused, ToolOutputMissing
from services.conversation.retelling import retold
from services.conversation.turn_compaction import (
    Context,
    before_answer,
    context_of,
    of_all,
    once_said,
    recorded,
    said_by_user,
)
from services.conversation.window import check
from tests.builders import (
    CONVERSATION_ID,
    PROPERTY,
    added,
    after,
    call,
    compact,
    compacted,
    compaction_item,
    complete,
    completed,
    created,
    failed,
    ids_of,
    in_turn,
    listed,
    message,
    output,
    reasoning,
    request,
    requested,
    said,
    state_of,
    turn_summary,
)
from tests.specification import given

SUMMARY = compaction_item("cmp_1", tokens=2)
TALK = (
    message("u1", tokens=10),
    said("a1", tokens=10),
    message("u2", tokens=10),
    said("a2", tokens=10),
)


def planned(history, given_input, threshold=1_000):
    """Ids of what a plan carries, summarises, keeps of the history, and leaves of the input."""
    found = before_answer(
        Context(history=tuple(history), input=tuple(given_input)), threshold=threshold
    )
    if found is None:
        return None
    return (
        found.carried.id if found.carried else None,
        ids_of(found.items),
        ids_of(found.kept),
        ids_of(found.input),
    )


# Planning before an answer


def test_the_history_is_summarised_and_the_input_stays():
    assert planned(TALK, [message("u3")]) == (None, ["u1", "a1", "u2", "a2"], [], ["u3"])


def test_an_earlier_summary_is_carried_over_and_not_summarised_again():
    history = (SUMMARY, *TALK)
    assert planned(history, [message("u3")]) == ("cmp_1", ["u1", "a1", "u2", "a2"], [], ["u3"])


def test_what_a_client_kept_in_front_of_a_summary_is_told_by_it():
    history = (message("u0"), SUMMARY, *TALK)
    assert planned(history, [message("u3")]) == ("cmp_1", ["u1", "a1", "u2", "a2"], [], ["u3"])


def test_a_summary_in_the_midst_of_a_history_is_summarised_with_it():
    history = (*TALK, SUMMARY, said("a3"))
    assert planned(history, [message("u3")])[:2] == (
        None,
        ["u1", "a1", "u2", "a2", "cmp_1", "a3"],
    )


def test_a_summary_that_outgrew_its_share_of_the_threshold_is_summarised_with_the_rest():
    history = (compaction_item("cmp_1", tokens=5), *TALK)
    assert planned(history, [message("u3")], threshold=10)[:2] == (
        None,
        ["cmp_1", "u1", "a1", "u2", "a2"],
    )


@pytest.mark.parametrize("history", [(), (SUMMARY,), (message("u1"), SUMMARY)])
def test_there_is_no_plan_where_nothing_is_untold(history):
    assert planned(history, [message("u3")]) is None


def test_a_call_the_input_answers_stays_with_what_was_said_along_with_it():
    history = (*TALK, message("u3"), reasoning("rs"), said("s"), call("x"), call("y"))
    assert planned(history, [output("x"), output("y")]) == (
        None,
        ["u1", "a1", "u2", "a2", "u3"],
        ["rs", "s", "fc_x", "fc_y"],
        ["fco_x", "fco_y"],
    )


def test_an_output_that_stays_keeps_its_call_as_well():
    history = (message("u1"), call("x"), message("u2"), call("y"), output("x"))
    assert planned(history, [output("y")]) == (
        None,
        ["u1"],
        ["fc_x", "u2", "fc_y", "fco_x"],
        ["fco_y"],
    )


def test_a_history_that_is_only_the_call_the_input_answers_is_not_summarised():
    assert planned((call("x"),), [output("x")]) is None


def test_an_array_is_summarised_as_a_whole_and_stays_from_the_users_last_message_on():
    assert planned((), (*TALK, message("u3"))) == (
        None,
        ["u1", "a1", "u2", "a2", "u3"],
        [],
        ["u3"],
    )


def test_what_tools_said_since_the_users_last_message_stays():
    array = (*TALK, message("u3"), call("x"), output("x"))
    assert planned((), array)[3] == ["u3", "fc_x", "fco_x"]


def test_when_tools_said_much_since_the_last_calls_alone_stay():
    loop = (call("x", tokens=50), output("x", tokens=50))
    array = (message("u1"), *loop, reasoning("rs"), call("y"), call("z"), output("y"), output("z"))
    assert planned((), array, threshold=100)[3] == ["rs", "fc_y", "fc_z", "fco_y", "fco_z"]


def test_a_call_before_the_users_last_message_that_is_answered_after_it_stays():
    array = (*TALK, call("x"), message("u3"), output("x"))
    assert planned((), array)[3] == ["a2", "fc_x", "u3", "fco_x"]


@pytest.mark.parametrize("array", [(message("u1"),), (message("u1"), said("a1")), (said("a1"),)])
def test_an_array_that_is_one_exchange_is_not_summarised(array):
    assert planned((), array) is None


def test_a_plan_knows_the_sizes_before_and_after():
    found = before_answer(Context(history=TALK, input=(message("u3", tokens=7),)), threshold=100)
    assert (found.tokens_before, found.tokens_kept, found.tokens_max) == (47, 17, 20)
    assert ids_of(found.said) == ["u2"]


# Planning a summary of everything


def test_a_summary_that_was_asked_for_covers_history_and_input():
    found = of_all(Context(history=TALK, input=(message("u3"),)), tokens_budget=0)
    assert ids_of(found.items) == ["u1", "a1", "u2", "a2", "u3"]
    assert (found.carried, found.kept, found.input, found.tokens_kept) == (None, (), (), 0)


def test_asked_for_again_the_earlier_summary_is_all_there_is():
    found = of_all(Context(history=(SUMMARY,), input=()), tokens_budget=0)
    assert (found.carried, found.items) == (SUMMARY, ())


def test_a_summary_above_its_share_of_the_budget_is_made_anew():
    found = of_all(Context(history=(SUMMARY, *TALK), input=()), tokens_budget=4)
    assert (found.carried, ids_of(found.items)) == (None, ["cmp_1", "u1", "a1", "u2", "a2"])


def test_of_what_users_said_the_newest_is_kept_first_and_the_order_stays():
    items = (*TALK, message("u3", tokens=100), message("u4", tokens=5))
    size = sum(len(bytes(item.raw)) for item in items[-2:])

    def kept(tokens_max, bytes_max=100_000):
        return ids_of(said_by_user(items, tokens_max=tokens_max, bytes_max=bytes_max))

    assert kept(1_000) == ["u1", "u2", "u3", "u4"]
    assert kept(16) == ["u2", "u4"]
    assert kept(4) == []
    assert kept(1_000, bytes_max=size) == ["u3", "u4"]


# Arrays


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (TALK, ["u1", "a1", "u2", "a2"]),
        ((*TALK, SUMMARY, said("a3"), message("u4")), ["cmp_1", "a3", "u4"]),
        ((said("a1"), message("u2"), SUMMARY, said("a3")), ["u2", "cmp_1", "a3"]),
        ((message("u1"), message("u2"), SUMMARY), ["u1", "u2", "cmp_1"]),
        ((SUMMARY, *TALK), ["cmp_1", "u1", "a1", "u2", "a2"]),
        (
            (SUMMARY, said("a1"), compaction_item("cmp_2"), said("a2")),
            ["cmp_2", "a2"],
        ),
        ((), []),
    ],
)
def test_an_array_counts_from_its_newest_summary_on(array, expected):
    assert ids_of(since_summary(tuple(array))) == expected


def test_an_array_that_was_stored_goes_on_in_its_chain_as_it_was_shown():
    array = (*TALK, SUMMARY, said("a3"), message("u4"))
    state = state_of(
        created(hidden=True),
        requested("resp_1", *array, on_line=False),
        completed("resp_1", said("a4")),
    )
    assert ids_of(before_input(state, on_line=False, parent="resp_1")) == [
        "cmp_1",
        "a3",
        "u4",
        "a4",
    ]


@pytest.mark.parametrize("line", [True, False])
def test_of_an_array_that_was_summarised_its_end_goes_on(line):
    array = (message("u0"), compaction_item("cmp_0", tokens=3), *TALK, message("u3", tokens=4))
    state = state_of(created(hidden=not line), requested("resp_1", *array, on_line=line))
    turn = state.turn_running("resp_1")
    found = before_answer(context_of(state, turn, ()), threshold=100)
    summary = recorded(found, SUMMARY, summary="S.", method="summary", turn=turn, state=state)
    command = complete("resp_1", SUMMARY, said("a3"), summary=summary)
    events = decide(state, command, conversation_id=CONVERSATION_ID, policy=Policy())
    state = after(state, *events)
    assert (found.carried.id, ids_of(found.items)) == ("cmp_0", ["u1", "a1", "u2", "a2", "u3"])
    assert ids_of(before_input(state, on_line=line, parent=None if line else "resp_1")) == [
        "cmp_1",
        "u3",
        "a3",
    ]


# On the line


def on_line(*later: e.Event):
    return (created(), added(*TALK), requested("resp_1", message("u3", tokens=3)), *later)


def test_a_turns_own_summary_opens_the_next_window_and_everything_stays_listed():
    done = (
        given(*on_line())
        .when(
            complete(
                "resp_1",
                SUMMARY,
                said("a3", tokens=4),
                total=90,
                summary=turn_summary("cmp_1", covered=4, before=43, after=5),
            )
        )
        .then(
            completed(
                "resp_1",
                SUMMARY,
                said("a3", tokens=4),
                total=90,
                compaction=in_turn("cmp_1", covered=4, before=43, after=5),
            )
        )
    )
    assert ids_of(done.state.window()) == ["cmp_1", "u3", "a3"]
    assert listed(done.state) == ["u1", "a1", "u2", "a2", "u3", "cmp_1", "a3"]
    assert done.state.tokens == 90


def test_a_summary_that_was_asked_for_covers_the_input_as_well():
    done = (
        given(*on_line())
        .when(
            complete(
                "resp_1",
                SUMMARY,
                total=700,
                summary=turn_summary("cmp_1", covered=4, input_covered=1, before=43, after=2),
            )
        )
        .then(
            completed(
                "resp_1",
                SUMMARY,
                total=700,
                compaction=in_turn("cmp_1", covered=5, before=43, after=2),
            )
        )
    )
    assert ids_of(done.state.window()) == ["cmp_1"]
    # The provider counted what was summarised, and not the window.
    assert done.state.tokens == 2


def test_what_is_added_while_a_summary_is_made_stays_in_the_window():
    history = given(*on_line(added(message("by_hand", tokens=6))))
    done = history.when(
        complete(
            "resp_1",
            SUMMARY,
            summary=turn_summary("cmp_1", covered=4, input_covered=1, before=43, after=2),
        )
    ).then(completed("resp_1", SUMMARY, compaction=in_turn("cmp_1", covered=4, before=43, after=2)))
    assert ids_of(done.state.window()) == ["cmp_1", "by_hand", "u3"]


def test_a_summary_of_what_was_deleted_meanwhile_is_undone_in_the_same_commit():
    history = given(*on_line(e.ItemDeleted(item_id="u1")))
    summary = turn_summary("cmp_1", covered=4, before=43, after=5)
    done = history.when(complete("resp_1", SUMMARY, said("a3"), summary=summary)).then(
        completed(
            "resp_1",
            SUMMARY,
            said("a3"),
            compaction=in_turn("cmp_1", covered=4, before=43, after=5),
        ),
        e.CompactionReverted(item_id="cmp_1"),
    )
    assert ids_of(done.state.window()) == ["a1", "u2", "a2", "u3", "a3"]
    assert listed(done.state) == ["a1", "u2", "a2", "u3", "a3"]
    assert done.state.tokens == sum(item.tokens for item in done.state.window())


COMPACTED = on_line(
    completed(
        "resp_1",
        SUMMARY,
        said("a3", tokens=4),
        compaction=in_turn("cmp_1", covered=4, before=43, after=5),
    )
)
PLAIN = on_line(completed("resp_1", said("a3", tokens=4)))


def test_deleting_the_summary_of_a_turn_restores_the_identical_window():
    done = (
        given(*COMPACTED)
        .when(c.DeleteItem(item_id="cmp_1"))
        .then(e.CompactionReverted(item_id="cmp_1"))
    )
    plain = state_of(*PLAIN)
    assert done.state.window() == plain.window()
    assert done.state.tokens == plain.tokens
    assert listed(done.state) == listed(plain)


def test_deleting_an_item_the_summary_covers_takes_the_summary_along():
    given(*COMPACTED).when(c.DeleteItem(item_id="u2")).then(
        e.ItemDeleted(item_id="u2"), e.CompactionReverted(item_id="cmp_1")
    )


@pytest.mark.parametrize("item_id", ["u3", "a3"])
def test_deleting_an_item_it_does_not_cover_leaves_it_in_force(item_id):
    given(*COMPACTED).when(c.DeleteItem(item_id=item_id)).then(e.ItemDeleted(item_id=item_id))


def test_a_turns_own_summary_answers_the_crossing():
    crossed = e.BudgetCrossed(tokens=40, budget=30)
    history = (created(), added(*TALK), crossed, requested("resp_1", message("u3")))
    done = in_turn("cmp_1", covered=4, before=41, after=3)
    state = state_of(*history, completed("resp_1", SUMMARY, said("a3"), compaction=done))
    assert (state.crossed, state.tokens) == (0, 4)


def test_a_window_that_is_still_over_budget_behind_its_summary_says_so():
    history = given(*on_line()).under(Policy(tokens_budget=30))
    summary = turn_summary("cmp_1", covered=4, before=43, after=5)
    history.when(complete("resp_1", SUMMARY, said("a3"), total=50, summary=summary)).then(
        completed(
            "resp_1",
            SUMMARY,
            said("a3"),
            total=50,
            compaction=in_turn("cmp_1", covered=4, before=43, after=5),
        ),
        e.BudgetCrossed(tokens=50, budget=30),
    )


def test_the_background_compaction_carries_a_turns_own_summary_on():
    state = state_of(*COMPACTED, added(message("u4", tokens=40), said("a4", tokens=40)))
    found = plan(state, tokens_budget=10)
    assert (found.carried, found.after) == ("What was said.", "cmp_1")
    assert ids_of(found.items) == ["u3", "a3", "u4", "a4"]


def test_a_turn_on_the_line_can_be_followed_by_a_chain():
    state = state_of(*COMPACTED)
    assert ids_of(before_input(state, on_line=False, parent="resp_1")) == ["cmp_1", "u3", "a3"]


# Off the line

CHAIN = (
    created(hidden=True),
    requested("resp_1", message("u1"), on_line=False),
    completed("resp_1", said("a1"), total=800),
    requested("resp_2", message("u2"), on_line=False, parent="resp_1"),
)


def test_a_chain_goes_back_to_the_newest_summary_and_no_further():
    state = state_of(
        *CHAIN,
        completed(
            "resp_2",
            SUMMARY,
            said("a2"),
            compaction=in_turn("cmp_1", covered=0, before=3, after=2),
        ),
        requested("resp_3", message("u3"), on_line=False, parent="resp_2"),
        completed("resp_3", said("a3")),
    )
    assert ids_of(before_input(state, on_line=False, parent="resp_2")) == ["cmp_1", "u2", "a2"]
    assert ids_of(before_input(state, on_line=False, parent="resp_3")) == [
        "cmp_1",
        "u2",
        "a2",
        "u3",
        "a3",
    ]
    # A branch from before it does not know of it.
    assert ids_of(before_input(state, on_line=False, parent="resp_1")) == ["u1", "a1"]


def test_after_a_summary_that_was_asked_for_the_chain_is_that_summary():
    state = state_of(
        *CHAIN,
        completed("resp_2", SUMMARY, compaction=in_turn("cmp_1", covered=1, before=3, after=2)),
    )
    assert ids_of(before_input(state, on_line=False, parent="resp_2")) == ["cmp_1"]


def test_calls_the_input_answered_stay_behind_the_summary_of_a_chain():
    state = state_of(
        created(hidden=True),
        requested("resp_1", message("u1"), on_line=False),
        completed("resp_1", reasoning("rs"), call("x")),
        requested("resp_2", output("x"), on_line=False, parent="resp_1"),
        completed(
            "resp_2",
            SUMMARY,
            said("a2"),
            compaction=in_turn("cmp_1", covered=0, kept=("rs", "fc_x"), before=4, after=4),
        ),
    )
    before = before_input(state, on_line=False, parent="resp_2")
    assert ids_of(before) == ["cmp_1", "rs", "fc_x", "fco_x", "a2"]
    check(before, (message("u3"),))


BRANCH = (
    created(),
    added(*TALK),
    requested("resp_1", message("u3")),
    completed("resp_1", said("a3")),
    requested("resp_2", message("u4"), on_line=False, parent="resp_1"),
)
BRANCHED = completed(
    "resp_2", SUMMARY, said("a4"), compaction=in_turn("cmp_1", covered=0, before=9, after=3)
)
WHOLE_BRANCH = ["u2", "a2", "u3", "a3", "u4", "a4"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((*BRANCH, BRANCHED), ["cmp_1", "u4", "a4"]),
        ((*BRANCH, BRANCHED, e.ItemDeleted(item_id="u1")), ["a1", *WHOLE_BRANCH]),
        ((*BRANCH, e.ItemDeleted(item_id="u1"), BRANCHED), ["a1", *WHOLE_BRANCH]),
        (
            (*BRANCH, BRANCHED, added(message("u9")), e.ItemDeleted(item_id="u9")),
            ["cmp_1", "u4", "a4"],
        ),
    ],
    ids=["kept", "deleted_after", "deleted_meanwhile", "deleted_elsewhere"],
)
def test_a_branch_of_the_line_loses_its_summary_with_an_item_it_tells_of(events, expected):
    state = state_of(*events)
    assert ids_of(before_input(state, on_line=False, parent="resp_2")) == expected
    assert [turn.output for turn in state.turns.upwards(1)] == [(SUMMARY, said("a4"))]


def test_of_a_turn_that_failed_no_summary_remains():
    state = state_of(*CHAIN, failed("resp_2", (SUMMARY,)))
    assert ids_of(before_input(state, on_line=False, parent="resp_2")) == ["u1", "a1", "u2"]


# Sizes of contexts


def sized(events, response_id):
    state = state_of(*events)
    turn = state.turn_running(response_id)
    history = before_input(state, on_line=turn.on_line, parent=turn.parent)
    return context_of(state, turn, history).tokens


def test_a_context_is_as_large_as_the_provider_said_and_its_input():
    assert sized(CHAIN, "resp_2") == 801
    line = (
        created(),
        requested("resp_1", message("u1")),
        completed("resp_1", said("a1"), total=800),
        added(message("u2", tokens=5)),
        requested("resp_2", message("u3", tokens=7)),
    )
    assert sized(line, "resp_2") == 812


def test_a_context_no_provider_has_counted_is_sized_by_our_tokenizer():
    uncounted = (
        created(hidden=True),
        requested("resp_1", message("u1", tokens=20), on_line=False),
        completed("resp_1", said("a1", tokens=30)),
        requested("resp_2", message("u2", tokens=7), on_line=False, parent="resp_1"),
    )
    assert sized(uncounted, "resp_2") == 57
    only_a_summary = (
        *CHAIN,
        completed(
            "resp_2",
            SUMMARY,
            total=900,
            compaction=in_turn("cmp_1", covered=1, before=3, after=2),
        ),
        requested("resp_3", message("u3"), on_line=False, parent="resp_2"),
    )
    assert sized(only_a_summary, "resp_3") == 3


def test_an_array_is_as_large_as_what_of_it_is_shown():
    array = (*TALK, SUMMARY, message("u3", tokens=7))
    alone = (created(hidden=True), requested("resp_1", *array, on_line=False))
    assert sized(alone, "resp_1") == 9


# Admission


@pytest.mark.parametrize(
    ("history", "command"),
    [
        ((created(),), request("resp_1")),
        ((), request("resp_1", on_line=False)),
    ],
)
def test_there_is_nothing_to_compact_in_an_empty_context(history, command):
    asked = c.RequestTurn(**{**_fields(command), "summarised": True})
    refused = given(*history).when(asked).refuses(NothingToCompact)
    assert (refused.status, refused.param) == (400, "input")


def test_a_call_that_waits_for_its_output_cannot_be_summarised_away():
    history = given(created(), added(message("u1"), call("x")))
    asked = c.RequestTurn(**{**_fields(request("resp_1")), "summarised": True})
    history.when(asked).refuses(ToolOutputMissing)


def _fields(command):
    return {name: getattr(command, name) for name in command.__struct_fields__}


# Telling it again


def test_a_summary_is_told_again_as_it_was_told():
    state = state_of(*COMPACTED)
    frames = retold(state.turns.get("resp_1"), conversation_id=CONVERSATION_ID)
    told = [json.loads(frame.split(b"data: ")[1]) for frame in frames]
    assert [event["type"] for event in told[2:6]] == [
        "response.output_item.added",
        "response.compaction.compacting",
        "response.output_item.done",
        "response.output_item.added",
    ]
    assert told[2]["item"] == {"id": "cmp_1", "type": "compaction", "encrypted_content": ""}
    assert told[3] == {
        "type": "response.compaction.compacting",
        "item_id": "cmp_1",
        "output_index": 0,
        "sequence_number": 3,
    }
    assert told[4]["item"] == json.loads(bytes(SUMMARY.raw))


# Any history of turns

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["turn", "tools", "compacting", "asked", "add", "meanwhile", "delete", "background"]
        ),
        st.booleans(),
        st.integers(0, 30),
    ),
    max_size=14,
)


class Story:
    """Turns as a responder runs them, on the line or in a chain: decided, and folded."""

    def __init__(self, *, on_line: bool) -> None:
        self.on_line = on_line
        self.state = state_of(created(hidden=not on_line))
        self.parent: str | None = None
        self.number = 0
        self.waiting: str | None = None

    def do(self, command: c.Command) -> None:
        events = decide(
            self.state, command, conversation_id=CONVERSATION_ID, policy=Policy(tokens_budget=40)
        )
        self.number += 1
        self.state = after(self.state, *events, sequence=self.number * 10)

    def turn(self, kind: str, *, number: int, meanwhile: c.Command | None = None) -> None:
        name = f"resp_{self.number}"
        given_input = (message(f"u{self.number}", tokens=number),)
        if self.waiting is not None:
            given_input, self.waiting = (output(self.waiting, tokens=number),), None
        self.do(request(name, *given_input, on_line=self.on_line, parent=self.parent))
        state, turn = self.state, self.state.turn_running(name)
        history = before_input(state, on_line=turn.on_line, parent=turn.parent)
        context = context_of(state, turn, history)
        found = of_all(context, tokens_budget=40) if kind == "asked" else None
        if kind == "compacting":
            found = before_answer(context, threshold=40)
        if meanwhile is not None:
            self.do(meanwhile)
        answer, summary = [said(f"a{self.number}", tokens=3)], None
        if kind == "tools":
            self.waiting = f"call_{self.number}"
            answer.append(call(self.waiting, tokens=3))
        if found is not None:
            item = compaction_item(f"cmp_{self.number}", tokens=2)
            summary = recorded(found, item, summary="S.", method="summary", turn=turn, state=state)
            answer = [item] if kind == "asked" else [item, *answer]
            told = (*found.said, *found.kept, *found.input)
            check((item,), told)
            total = item.tokens + sum(each.tokens for each in told)
            assert summary.tokens_after == total
        self.do(complete(name, *answer, summary=summary))
        if not self.on_line:
            self.parent = name

    def window(self):
        return before_input(self.state, on_line=self.on_line, parent=self.parent)


@PROPERTY
@for_all(st.booleans(), STEPS)
def test_however_turns_are_summarised_nothing_is_lost_or_told_twice(line, steps):
    story = Story(on_line=line)
    for kind, flag, number in steps:
        standing = listed(story.state)
        try:
            match kind:
                case "add" if line:
                    story.do(c.AddItems(items=(message(f"h{story.number}", tokens=number),)))
                case "delete" if line and standing:
                    story.do(c.DeleteItem(item_id=standing[number % len(standing)]))
                case "meanwhile" if line and standing:
                    edit = c.DeleteItem(item_id=standing[number % len(standing)])
                    if flag:
                        edit = c.AddItems(items=(message(f"h{story.number}", tokens=1),))
                    story.turn("asked" if number % 2 else "compacting", number=1, meanwhile=edit)
                case "background" if line and (found := plan(story.state, tokens_budget=40)):
                    story.do(
                        compact(
                            compaction_item(f"cmp_{story.number}", tokens=2),
                            covered=found.covered,
                            kept=tuple(ids_of(found.kept)),
                            after=found.after,
                            removed=found.removed,
                            before_tokens=found.tokens_before,
                            after_tokens=2 + found.tokens_kept,
                        )
                    )
                case "turn" | "tools" | "compacting" | "asked":
                    story.turn(kind, number=number)
        except Refused:
            # A deleted call or output leaves its other half alone; a later turn says so.
            story.waiting = None
            continue
        window = ids_of(story.window())
        assert len(window) == len(set(window))
        assert all(not item_id.startswith("cmp") for item_id in window[1:])
        newest = story.state.compactions[-1] if story.state.compactions else None
        if line:
            told = set(window)
            for position, item in enumerate(story.state.line.upwards(0)):
                covered = newest is not None and position < newest.covered
                gone = position in story.state.removed or item.type == "compaction"
                assert gone or covered or item.id in told
            assert story.state.tokens >= 0


@PROPERTY
@for_all(STEPS)
def test_undoing_every_summary_restores_the_whole_line(steps):
    story = Story(on_line=True)
    for kind, _, number in steps:
        if kind in {"turn", "tools", "compacting", "asked"}:
            story.turn(kind, number=number)
    while summaries := [each for each in listed(story.state) if each.startswith("cmp")]:
        story.do(c.DeleteItem(item_id=summaries[-1]))
    assert ids_of(story.state.window()) == listed(story.state)
    assert story.state.tokens == sum(item.tokens for item in story.state.window())


def test_a_summary_replaces_the_one_of_the_background_before_it():
    state = state_of(
        created(),
        added(*TALK),
        compacted(compaction_item("cmp_0", tokens=2), covered=2, before=40, after=22),
        requested("resp_1", message("u3")),
        completed(
            "resp_1",
            SUMMARY,
            said("a3"),
            compaction=in_turn("cmp_1", covered=5, before=23, after=3),
        ),
    )
    assert ids_of(state.window()) == ["cmp_1", "u3", "a3"]
    state = after(state, e.CompactionReverted(item_id="cmp_1"))
    assert ids_of(state.window()) == ["cmp_0", "u2", "a2", "u3", "a3"]


# What summaries stand for


def once(state, *, on_line, parent=None):
    """Ids of what an earlier summary and what followed it come to, told anew in the last turn."""
    turn = state.running[-1]
    history = before_input(state, on_line=on_line, parent=parent)
    # So small a threshold leaves an earlier summary no share.
    found = before_answer(Context(history=history, input=turn.shown), threshold=2)
    assert "cmp_1" in ids_of(found.items)
    return ids_of(once_said(found, turn=turn, state=state))


def test_on_the_line_all_items_are_told_again_in_place_of_a_summary():
    state = state_of(
        created(),
        added(*TALK),
        compacted(SUMMARY, covered=4, before=40, after=2),
        added(message("u3"), said("a3")),
        requested("resp_1", message("u4")),
    )
    assert once(state, on_line=True) == ["u1", "a1", "u2", "a2", "u3", "a3"]


def test_off_the_line_all_turns_are_told_again_in_place_of_a_summary():
    state = state_of(
        created(),
        added(*TALK[:2]),
        requested("resp_1", TALK[2]),
        completed("resp_1", TALK[3]),
        requested("resp_2", message("u3"), on_line=False, parent="resp_1"),
        completed(
            "resp_2",
            SUMMARY,
            said("a3"),
            compaction=in_turn("cmp_1", covered=0, before=43, after=5),
        ),
        requested("resp_3", message("u4"), on_line=False, parent="resp_2"),
    )
    told = once(state, on_line=False, parent="resp_2")
    assert told == ["u1", "a1", "u2", "a2", "u3", "a3"]


def test_without_a_summary_nothing_is_told_in_its_place():
    state = state_of(created(), added(*TALK), requested("resp_1", message("u4")))
    found = before_answer(Context(history=state.window(), input=()), threshold=2)
    assert once_said(found, turn=state.running[-1], state=state) == ()
