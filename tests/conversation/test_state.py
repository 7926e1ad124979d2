import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas import events as e
from schemas.envelope import Outline
from schemas.events import CLASSES
from services.conversation.decide import before_input
from services.conversation.state import NEW, UNSTORED, evolve
from services.conversation.visible import visible
from tests.builders import (
    AT,
    PROPERTY,
    added,
    after,
    call,
    cancelled,
    compacted,
    compaction_item,
    completed,
    created,
    failed,
    forked,
    ids_of,
    in_turn,
    message,
    output,
    requested,
    said,
    state_of,
)

NAMES = st.sampled_from(["a", "b", "c", "d"])
TOKENS = st.integers(0, 500)
ITEMS = st.one_of(
    st.builds(lambda name, tokens: message(f"msg_{name}", tokens=tokens), NAMES, TOKENS),
    st.builds(lambda name: said(f"msg_{name}"), NAMES),
    st.builds(call, NAMES),
    st.builds(output, NAMES),
    st.builds(lambda name: compaction_item(f"cmp_{name}"), NAMES),
)
ITEM_IDS = st.one_of(
    st.builds("{}_{}".format, st.sampled_from(["msg", "fc", "cmp"]), NAMES), st.just("")
)
RESPONSES = st.builds("resp_{}".format, NAMES)
MANY = st.lists(ITEMS, max_size=3)
EVENTS = st.one_of(
    st.builds(created, hidden=st.booleans()),
    st.builds(e.ConversationUpdated, metadata=st.dictionaries(NAMES, NAMES, max_size=2)),
    st.just(e.ConversationDeleted()),
    st.builds(lambda items: added(*items), MANY),
    st.builds(e.ItemDeleted, item_id=ITEM_IDS),
    st.builds(
        lambda name, items, on_line, parent, store: requested(
            name, *items, on_line=on_line, parent=parent, store=store
        ),
        RESPONSES,
        MANY,
        st.booleans(),
        st.none() | RESPONSES,
        st.booleans(),
    ),
    st.builds(
        e.TurnStarted, response_id=RESPONSES, attempt=st.integers(-1, 9), responder=st.just("r")
    ),
    st.builds(
        lambda name, items, status, total, done: completed(
            name, *items, status=status, total=total, compaction=done
        ),
        RESPONSES,
        MANY,
        st.sampled_from(["completed", "incomplete"]),
        TOKENS,
        st.none()
        | st.builds(
            lambda name, covered, kept, before, left: in_turn(
                f"cmp_{name}", covered=covered, kept=kept, before=before, after=left
            ),
            NAMES,
            st.integers(0, 20),
            st.lists(ITEM_IDS, max_size=2).map(tuple),
            TOKENS,
            TOKENS,
        ),
    ),
    st.builds(failed, RESPONSES, MANY),
    st.builds(cancelled, RESPONSES, MANY),
    st.builds(e.ResponseDeleted, response_id=RESPONSES),
    st.builds(e.BudgetCrossed, tokens=TOKENS, budget=TOKENS),
    st.builds(
        lambda name, covered, kept, before, left: compacted(
            compaction_item(f"cmp_{name}"), covered=covered, kept=kept, before=before, after=left
        ),
        NAMES,
        st.integers(0, 20),
        st.lists(ITEM_IDS, max_size=2).map(tuple),
        TOKENS,
        TOKENS,
    ),
    st.builds(e.CompactionReverted, item_id=ITEM_IDS),
    st.builds(
        lambda items, name, covered, kept, more: forked(
            *items,
            compactions=(
                e.ForkedCompaction(item_id=name, summary="x", covered=covered, kept=kept),
            ),
            more=more,
        ),
        MANY,
        ITEM_IDS,
        st.integers(0, 20),
        st.lists(ITEM_IDS, max_size=2).map(tuple),
        st.booleans(),
    ),
)
HISTORIES = st.lists(EVENTS, max_size=25)


def test_every_event_is_among_those_that_histories_are_made_of():
    made = {type(event) for event in EVENTS_ONCE}
    assert made == set(CLASSES.values())


EVENTS_ONCE = [
    e.ConversationErased(commits=1, head="00", trail="00"),
    created(),
    e.ConversationUpdated(metadata={}),
    e.ConversationDeleted(),
    added(message("msg_1")),
    e.ItemDeleted(item_id="msg_1"),
    requested("resp_1", message("msg_1")),
    e.TurnStarted(response_id="resp_1", attempt=2, responder="r"),
    completed("resp_1"),
    failed("resp_1"),
    cancelled("resp_1"),
    e.ResponseDeleted(response_id="resp_1"),
    e.BudgetCrossed(tokens=2, budget=1),
    compacted(compaction_item("cmp_1"), covered=1, before=2, after=1),
    e.CompactionReverted(item_id="cmp_1"),
    forked(message("msg_1")),
]


@PROPERTY
@for_all(HISTORIES)
def test_any_event_is_taken_in_any_state(history):
    state = NEW
    for number, event in enumerate(history, 1):
        earlier = state, list(state.listed(0, descending=False))
        state = evolve(state, event, at=AT, sequence=number)
        assert (earlier[0], list(earlier[0].listed(0, descending=False))) == earlier
        assert state.tokens >= 0
        state.window()
        for turn in state.turns.upwards(0):
            before_input(state, on_line=False, parent=turn.id)


@pytest.mark.parametrize("event", EVENTS_ONCE, ids=lambda event: type(event).__name__)
def test_every_event_is_taken_in_a_conversation_that_does_not_exist(event):
    assert evolve(NEW, event, at=AT, sequence=1) is not None


@PROPERTY
@for_all(HISTORIES)
def test_the_same_history_gives_the_same_state(history):
    assert state_of(*history) == state_of(*history)


@PROPERTY
@for_all(HISTORIES)
def test_an_outline_tells_the_state_in_numbers(history):
    state = state_of(*history)
    on_line = [turn.id for turn in state.running if turn.on_line]
    assert state.outline() == Outline(
        items=len(list(state.line.upwards(0))),
        window=state.compactions[-1].sequence if state.compactions else 0,
        running=on_line[0] if on_line else None,
        deleted=any(isinstance(event, e.ConversationDeleted) for event in history),
        tokens=state.tokens,
    )


def test_the_outline_of_a_commit_names_its_own_compaction_until_it_is_stored():
    state = state_of(created(), added(message("msg_1")))
    event = compacted(compaction_item("cmp_1"), covered=1, before=2, after=1)
    unstored = evolve(state, event, at=AT, sequence=UNSTORED)
    assert unstored.outline() == Outline(items=2, window=-1, tokens=1)
    assert unstored.stored_at(7) == evolve(state, event, at=AT, sequence=7)
    assert unstored.stored_at(7).outline().window == 7
    assert state.stored_at(7) is state
    assert unstored.stored_at(7).stored_at(8) == unstored.stored_at(7)


@PROPERTY
@for_all(st.integers(0, 8), st.sets(st.integers(0, 7)), st.integers(-2, 10), st.booleans())
def test_items_are_listed_from_a_position_on_in_both_directions(length, gone, start, descending):
    rows = [f"msg_{number}" for number in range(length)]
    state = state_of(
        created(),
        added(*map(message, rows)),
        *(e.ItemDeleted(item_id=f"msg_{number}") for number in sorted(gone)),
    )
    left = [(number, row) for number, row in enumerate(rows) if number not in gone]
    expected = (
        [row for number, row in reversed(left) if number <= start]
        if descending
        else [row for number, row in left if number >= start]
    )
    assert ids_of(state.listed(start, descending=descending)) == expected


def test_items_are_found_until_they_leave():
    state = state_of(created(), added(message("msg_1"), message("msg_2")))
    assert (state.position("msg_2"), state.item("msg_2")) == (1, message("msg_2"))
    state = after(state, e.ItemDeleted(item_id="msg_2"))
    assert (state.position("msg_2"), state.item("msg_2")) == (None, None)
    assert (state.position("msg_9"), state.item("msg_9")) == (None, None)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((), False),
        ((created(),), True),
        ((created(hidden=True),), False),
        ((created(), e.ConversationDeleted()), False),
    ],
    ids=["new", "created", "hidden", "deleted"],
)
def test_clients_see_conversations_that_are_there_and_not_hidden(history, expected):
    assert visible(state_of(*history)) is expected


def test_tokens_follow_the_provider_and_then_our_own_count():
    state = state_of(created(), added(message("msg_1", tokens=10)))
    assert state.tokens == 10
    state = after(
        state, requested("resp_1", message("msg_2", tokens=5)), completed("resp_1", total=77)
    )
    assert state.tokens == 77
    state = after(state, added(message("msg_3", tokens=3)))
    assert state.tokens == 80
    assert after(state, e.ItemDeleted(item_id="msg_3")).tokens == 77


def test_a_turn_knows_when_it_began_and_ended_and_how_often_it_was_tried():
    state = state_of(
        created(),
        requested("resp_1", message("msg_1")),
        e.TurnStarted(response_id="resp_1", attempt=3, responder="b"),
        completed("resp_1", said("msg_2")),
    )
    turn = state.turns.get("resp_1")
    assert (turn.attempt, turn.line_end) == (3, 2)
    assert ((turn.requested_at - AT).seconds, (turn.ended_at - AT).seconds) == (1, 3)
