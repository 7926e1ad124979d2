import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas import events as e
from services.conversation import commands as c
from services.conversation.budget import Policy
from services.conversation.compaction import plan
from services.conversation.decide import before_input, decide
from services.conversation.refusals import (
    CompactionSuperseded,
    DuplicateItem,
    ToolCallMissing,
)
from services.conversation.window import check
from tests.builders import (
    CONVERSATION_ID,
    PROPERTY,
    added,
    call,
    compact,
    compacted,
    compaction_item,
    completed,
    created,
    ids_of,
    listed,
    message,
    output,
    request,
    requested,
    said,
    state_of,
)
from tests.specification import given

SUMMARY = compaction_item("cmp_1", tokens=2)
SECOND = compaction_item("cmp_2", tokens=3)

TALK = (
    created(),
    added(
        message("msg_1", tokens=10),
        said("msg_2", tokens=10),
        message("msg_3", tokens=10),
        said("msg_4", tokens=10),
    ),
)


def covering(state, budget):
    """What a plan would summarise, and what it would leave."""
    planned = plan(state, tokens_budget=budget)
    if planned is None:
        return None
    return ids_of(planned.items), ids_of(state.line.between(planned.covered, len(state.line)))


# Planning


def test_the_recent_part_of_the_line_that_fits_its_share_is_kept():
    assert covering(state_of(*TALK), 70) == (["msg_1", "msg_2"], ["msg_3", "msg_4"])


def test_nothing_is_planned_when_everything_is_recent():
    assert covering(state_of(*TALK), 1_000) is None


def test_nothing_is_planned_for_an_empty_line():
    assert covering(state_of(created()), 10) is None


def test_the_line_is_cut_where_a_user_speaks():
    state = state_of(*TALK)
    assert covering(state, 100) == (["msg_1", "msg_2"], ["msg_3", "msg_4"])


def test_the_whole_line_is_covered_when_its_last_turn_alone_is_too_large():
    assert covering(state_of(*TALK), 10) == (["msg_1", "msg_2", "msg_3", "msg_4"], [])


def test_a_plan_says_what_it_was_read_from():
    state = state_of(*TALK, e.ItemDeleted(item_id="msg_2"))
    planned = plan(state, tokens_budget=70)
    assert (
        planned.carried,
        planned.covered,
        planned.after,
        planned.removed,
        planned.tokens_before,
        planned.tokens_kept,
    ) == ("", 2, None, frozenset({1}), 30, 20)
    assert ids_of(planned.items) == ["msg_1"]


def test_a_call_that_waits_for_its_output_at_the_end_of_the_line_stays():
    state = state_of(
        created(), added(message("msg_1", tokens=50)), added(call("call_1", tokens=50))
    )
    assert covering(state, 10) is None


def test_a_call_that_waits_for_its_output_stays_when_a_user_has_spoken_since():
    state = state_of(
        created(),
        added(message("msg_1", tokens=50), call("call_1", tokens=50), message("msg_2", tokens=1)),
    )
    planned = covering(state, 10)
    covered = planned[0] if planned else []
    assert "fc_call_1" not in covered


def test_a_pair_is_not_split_by_a_user_who_spoke_in_between():
    state = state_of(
        created(),
        added(
            message("msg_1", tokens=10),
            call("call_1", tokens=1),
            message("msg_2", tokens=1),
            output("call_1", tokens=1),
            said("msg_3", tokens=1),
        ),
    )
    assert covering(state, 10) == (
        ["msg_1", "fc_call_1", "msg_2", "fco_call_1", "msg_3"],
        [],
    )


def test_a_second_plan_summarises_only_what_no_summary_covers():
    state = state_of(
        *TALK,
        compacted(SUMMARY, covered=4, before=40, after=2),
        added(message("msg_5", tokens=10), said("msg_6", tokens=10)),
        added(message("msg_7", tokens=1)),
    )
    planned = plan(state, tokens_budget=10)
    assert ids_of(planned.items) == ["msg_5", "msg_6"]
    assert (planned.carried, planned.after) == ("What was said.", "cmp_1")
    assert planned.sources == planned.items


def test_a_summary_that_outgrew_its_share_is_summarised_with_the_rest():
    state = state_of(
        *TALK,
        compacted(compaction_item("cmp_1", tokens=5), covered=4, before=40, after=5),
        added(message("msg_5", tokens=10), said("msg_6", tokens=10)),
    )
    planned = plan(state, tokens_budget=10)
    assert (ids_of(planned.items), planned.carried) == (["cmp_1", "msg_5", "msg_6"], "")
    assert ids_of(planned.sources) == [f"msg_{number}" for number in range(1, 7)]


def test_a_compaction_item_that_a_client_brought_along_is_not_lost_in_the_next_summary():
    state = state_of(
        created(),
        added(compaction_item("cmp_client", tokens=10), message("msg_1", tokens=10)),
        added(message("msg_2", tokens=1)),
    )
    assert covering(state, 10) == (["cmp_client", "msg_1"], ["msg_2"])


SCRIPTS = st.lists(
    st.lists(st.sampled_from(["user", "assistant", "call", "calls"]), min_size=1, max_size=5),
    max_size=6,
)


def script(parts):
    """A line of whole turns: what is said, calls with their outputs."""
    items = []
    for turn, kinds in enumerate(parts):
        items.append(message(f"msg_{turn}", tokens=turn % 3 + 1))
        for step, kind in enumerate(kinds):
            name = f"{turn}_{step}"
            match kind:
                case "user":
                    items.append(message(f"msg_{name}", tokens=2))
                case "assistant":
                    items.append(said(f"msg_{name}", tokens=3))
                case "call":
                    items += [call(name, tokens=2), output(name, tokens=4)]
                case "calls":
                    names = [f"{name}_a", f"{name}_b"]
                    items += [call(each) for each in names]
                    items += [output(each) for each in reversed(names)]
    return tuple(items)


@PROPERTY
@for_all(SCRIPTS, st.integers(1, 120))
def test_no_plan_splits_a_call_from_its_output_and_none_keeps_more_than_its_share(parts, budget):
    items = script(parts)
    state = state_of(created(), added(*items))
    planned = plan(state, tokens_budget=budget)
    if planned is None:
        return
    kept = items[planned.covered :]
    assert planned.items == items[: planned.covered]
    recent = sum(item.tokens for item in kept)
    said_before = sum(item.tokens for item in planned.kept)
    assert planned.tokens_kept == recent + said_before
    assert recent <= budget * 0.3
    assert said_before <= budget * 0.1
    assert {item.role for item in planned.kept} <= {"user"}
    check((), planned.items)
    check((SUMMARY,), kept)


@PROPERTY
@for_all(SCRIPTS, st.integers(1, 9), st.integers(1, 40))
def test_two_summaries_and_what_is_kept_are_the_whole_line_once(parts, later, budget):
    history = (created(), added(*script(parts)))
    first = plan(state_of(*history), tokens_budget=budget)
    if first is None:
        return
    grown = state_of(
        *history,
        compacted(SUMMARY, covered=first.covered, before=first.tokens_before, after=2),
        added(*(message(f"msg_later_{number}", tokens=3) for number in range(later))),
    )
    second = plan(grown, tokens_budget=budget)
    covered = second.covered if second else first.covered
    told = ids_of(first.items)
    told += [item_id for item_id in ids_of(second.items) if item_id != "cmp_1"] if second else []
    told += [item.id for item in grown.line.upwards(covered) if item.id != "cmp_1"]
    assert told == [item_id for item_id in listed(grown) if item_id != "cmp_1"]


# Granting


def test_a_compaction_replaces_what_it_covers_in_the_window_and_nothing_on_the_line():
    done = (
        given(*TALK)
        .when(compact(SUMMARY, covered=2, before_tokens=40, after_tokens=22))
        .then(compacted(SUMMARY, covered=2, before=40, after=22))
    )
    assert ids_of(done.state.window()) == ["cmp_1", "msg_3", "msg_4"]
    assert listed(done.state) == ["msg_1", "msg_2", "msg_3", "msg_4", "cmp_1"]
    assert done.state.tokens == 22


def test_a_compaction_granted_before_grants_nothing():
    history = given(*TALK, compacted(SUMMARY, covered=2, before=40, after=22))
    history.when(compact(SUMMARY, covered=2)).then()


def test_a_compaction_keeps_what_came_while_it_was_made():
    done = given(
        *TALK,
        added(message("msg_5", tokens=7)),
        compacted(SUMMARY, covered=2, before=40, after=22),
    )
    assert ids_of(done.state.window()) == ["cmp_1", "msg_3", "msg_4", "msg_5"]
    assert done.state.tokens == 29


@pytest.mark.parametrize(
    ("since", "command"),
    [
        ((e.ItemDeleted(item_id="msg_1"),), compact(SUMMARY, covered=2)),
        (
            (compacted(SECOND, covered=2, before=40, after=23),),
            compact(SUMMARY, covered=2),
        ),
        (
            (
                compacted(SECOND, covered=2, before=40, after=23),
                e.CompactionReverted(item_id="cmp_2"),
            ),
            compact(SUMMARY, covered=4, after="cmp_2"),
        ),
        ((e.ConversationDeleted(),), compact(SUMMARY, covered=2)),
    ],
    ids=["item_deleted_beneath", "another_came", "its_ground_was_reverted", "conversation_deleted"],
)
def test_a_compaction_of_what_the_line_no_longer_is_is_refused(since, command):
    given(*TALK, *since).when(command).refuses(CompactionSuperseded)


def test_an_item_deleted_above_what_is_covered_does_not_matter():
    history = given(*TALK, e.ItemDeleted(item_id="msg_4"))
    history.when(compact(SUMMARY, covered=2)).then(
        compacted(SUMMARY, covered=2, before=10, after=2)
    )


def test_a_hidden_conversation_is_not_compacted():
    history = given(created(hidden=True), added(message("msg_1"), said("msg_2")))
    history.when(compact(SUMMARY, covered=2)).refuses(CompactionSuperseded)


def test_deleting_the_compaction_item_restores_the_identical_earlier_window():
    before = state_of(*TALK)
    done = (
        given(*TALK, compacted(SUMMARY, covered=2, before=40, after=22))
        .when(c.DeleteItem(item_id="cmp_1"))
        .then(e.CompactionReverted(item_id="cmp_1"))
    )
    assert done.state.window() == before.window()
    assert [bytes(item.raw) for item in done.state.window()] == [
        bytes(item.raw) for item in before.window()
    ]
    assert done.state.tokens == before.tokens
    assert listed(done.state) == listed(before)


def test_deleting_the_newest_of_two_compactions_restores_the_one_before():
    once = (*TALK, compacted(SUMMARY, covered=2, before=40, after=22))
    twice = (*once, compacted(SECOND, covered=4, before=22, after=3))
    assert ids_of(state_of(*twice).window()) == ["cmp_2"]
    done = (
        given(*twice)
        .when(c.DeleteItem(item_id="cmp_2"))
        .then(e.CompactionReverted(item_id="cmp_2"))
    )
    assert done.state.window() == state_of(*once).window()


@pytest.mark.parametrize("covered", [2, 4, 5])
def test_deleting_an_older_compaction_takes_the_newer_along_that_carries_it_on(covered):
    twice = (
        *TALK,
        compacted(SUMMARY, covered=2, before=40, after=22),
        compacted(SECOND, covered=covered, before=22, after=3),
    )
    done = (
        given(*twice)
        .when(c.DeleteItem(item_id="cmp_1"))
        .then(e.CompactionReverted(item_id="cmp_1"), e.CompactionReverted(item_id="cmp_2"))
    )
    assert done.state.window() == state_of(*TALK).window()
    assert listed(done.state) == listed(state_of(*TALK))


def test_a_compaction_that_was_undone_is_not_made_again_before_the_window_has_grown():
    crossed = (*TALK, e.BudgetCrossed(tokens=40, budget=30))
    undone = given(*crossed, compacted(SUMMARY, covered=2, before=40, after=22)).when(
        c.DeleteItem(item_id="cmp_1")
    )
    state = undone.then(e.CompactionReverted(item_id="cmp_1")).state
    assert state == msgspec.structs.replace(state_of(*crossed), line=state.line, removed={4})
    for tokens, reported in ((19, ()), (20, (e.BudgetCrossed(tokens=60, budget=30),))):
        more = message("msg_9", tokens=tokens)
        granted = decide(
            state,
            c.AddItems(items=(more,)),
            conversation_id=CONVERSATION_ID,
            policy=Policy(tokens_budget=30),
        )
        assert granted == (added(more), *reported)


def test_a_compaction_item_a_client_added_is_deleted_like_any_item():
    history = given(created(), added(compaction_item("cmp_9")))
    history.when(c.DeleteItem(item_id="cmp_9")).then(e.ItemDeleted(item_id="cmp_9"))


def test_a_compacted_item_stays_listed_and_its_id_taken():
    history = given(*TALK, compacted(SUMMARY, covered=2, before=40, after=22))
    history.when(c.AddItems(items=(message("msg_1"),))).refuses(DuplicateItem)


def test_a_turn_cannot_bring_an_id_that_is_on_the_line_beneath_a_compaction():
    history = given(*TALK, compacted(SUMMARY, covered=2, before=40, after=22))
    history.when(request("resp_1", message("msg_1"))).refuses(DuplicateItem)


def test_an_item_deleted_after_its_compaction_is_out_of_the_very_next_window():
    history = (*TALK, compacted(SUMMARY, covered=2, before=40, after=22))
    granted = decide(
        state_of(*history),
        c.DeleteItem(item_id="msg_1"),
        conversation_id=CONVERSATION_ID,
        policy=Policy(),
    )
    # The summary tells what msg_1 said, so it has to go as well.
    assert ids_of(state_of(*history, *granted).window()) == ["msg_2", "msg_3", "msg_4"]


def test_deleting_an_item_beneath_a_summary_leaves_the_size_of_the_window_right():
    state = state_of(
        created(),
        added(message("msg_1", tokens=1_000), message("msg_2", tokens=10)),
        compacted(SUMMARY, covered=1, before=1_010, after=12),
        e.ItemDeleted(item_id="msg_1"),
    )
    assert state.tokens == sum(item.tokens for item in state.window())


def test_a_compaction_sees_outputs_that_came_after_it_was_planned():
    history = (
        created(),
        added(message("msg_1", tokens=50), call("call_1", tokens=50), message("msg_2", tokens=1)),
    )
    planned = plan(state_of(*history), tokens_budget=10)
    events = history
    if planned is not None:
        events = (*history, compacted(SUMMARY, covered=planned.covered, before=101, after=3))
    state = state_of(*events)
    try:
        check(state.window(), (output("call_1"),))
    except ToolCallMissing as refused:
        raise AssertionError("a compaction made a legal request illegal") from refused


def test_kept_items_stay_in_front_and_are_told_once():
    state = state_of(
        *TALK,
        compacted(SUMMARY, covered=3, before=40, after=22, kept=("msg_1",)),
    )
    assert ids_of(state.window()) == ["cmp_1", "msg_1", "msg_4"]


def test_a_kept_item_that_was_deleted_and_added_again_is_told_once():
    state = state_of(
        *TALK,
        compacted(SUMMARY, covered=3, before=40, after=22, kept=("msg_1",)),
        e.ItemDeleted(item_id="msg_1"),
        added(message("msg_1", "again")),
    )
    assert ids_of(state.window()) == ["cmp_1", "msg_4", "msg_1"]


def test_a_chain_from_before_a_compaction_does_not_see_it():
    state = state_of(
        created(),
        requested("resp_1", message("msg_1")),
        completed("resp_1", said("msg_2")),
        compacted(SUMMARY, covered=2, before=2, after=2),
        requested("resp_2", message("msg_3")),
        completed("resp_2", said("msg_4")),
    )
    assert ids_of(before_input(state, on_line=False, parent="resp_1")) == ["msg_1", "msg_2"]
    assert ids_of(before_input(state, on_line=False, parent="resp_2")) == [
        "cmp_1",
        "msg_3",
        "msg_4",
    ]


def test_a_summary_may_have_what_the_window_must_not_lose_to_it():
    planned = plan(state_of(*TALK), tokens_budget=70, shrink_share=0.2)
    assert (planned.tokens_before, planned.tokens_kept, planned.tokens_max) == (40, 20, 12)
    assert plan(state_of(*TALK), tokens_budget=70, shrink_share=0.5).tokens_max == 0


def test_a_summary_has_no_more_than_its_share_of_a_large_budget():
    talk = (created(), added(*(message(f"msg_{n}", tokens=1_000) for n in range(100))))
    planned = plan(state_of(*talk), tokens_budget=90_000)
    assert (planned.tokens_wanted, planned.tokens_max) == (27_000, 44_000)


def test_the_users_newest_messages_stay_beside_the_summary_that_tells_of_them():
    state = state_of(
        created(),
        added(*(item for n in range(10) for item in (message(f"msg_{n}"), said(f"out_{n}")))),
        added(message("msg_last", tokens=80), said("out_last", tokens=9)),
    )
    planned = plan(state, tokens_budget=40)
    assert ids_of(planned.kept) == ["msg_6", "msg_7", "msg_8", "msg_9"]
    assert ids_of(planned.items)[:2] == ["msg_0", "out_0"]
    assert planned.covered == 22


def test_messages_that_stayed_before_stay_while_there_is_room_and_are_told_already():
    state = state_of(
        *TALK,
        compacted(SUMMARY, covered=4, before=40, after=2, kept=("msg_1", "msg_3")),
        added(message("msg_5", tokens=10), said("msg_6", tokens=190)),
        added(message("msg_7", tokens=1)),
    )
    planned = plan(state, tokens_budget=200)
    assert ids_of(planned.shown) == ["cmp_1", "msg_1", "msg_3", "msg_5", "msg_6"]
    assert ids_of(planned.items) == ["msg_5", "msg_6"]
    assert ids_of(planned.kept) == ["msg_3", "msg_5"]
    assert (planned.covered_from, planned.covered) == (4, 7)


def test_what_only_an_upstream_can_read_is_told_from_the_line_again_unless_it_reads_it():
    sealed = msgspec.structs.replace(
        compacted(SUMMARY, covered=4, before=40, after=2), summary="", method="upstream"
    )
    state = state_of(*TALK, sealed, added(message("msg_5", tokens=10), said("msg_6", tokens=10)))
    planned = plan(state, tokens_budget=10)
    assert ids_of(planned.items) == ["msg_1", "msg_2", "msg_3", "msg_4", "msg_5", "msg_6"]
    assert (planned.carried, planned.covered_from, planned.after) == ("", 0, "cmp_1")
    planned = plan(state, tokens_budget=10, seals_elsewhere=True)
    assert ids_of(planned.items) == ["cmp_1", "msg_5", "msg_6"]
