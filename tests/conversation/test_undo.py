"""Whatever else happens: a compaction that was undone might as well never have been made."""

from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas import events as e
from services.conversation import commands as c
from services.conversation.compaction import plan
from services.conversation.decide import Policy, decide
from services.conversation.history import item_of
from services.conversation.refusals import Refused
from services.conversation.state import Conversation
from tests.builders import (
    CONVERSATION_ID,
    PROPERTY,
    added,
    call,
    compacted,
    compaction_item,
    created,
    message,
    output,
    said,
    state_of,
)

STEP = st.tuples(
    st.sampled_from(["ask", "ask", "call", "compact", "compact", "delete", "undo", "undo"]),
    st.integers(0, 10**6),
)


def as_bytes(state: Conversation) -> list[bytes]:
    return [bytes(item.raw) for item in state.window()]


def step(state: Conversation, what: str, dice: int, number: int) -> tuple[e.Event, ...]:
    """The events of one step; none where it has nothing to do."""
    match what:
        case "ask":
            return (added(message(f"msg_{number}", tokens=9), said(f"msg_a{number}", tokens=9)),)
        case "call":
            asked = message(f"msg_{number}", tokens=2)
            return (added(asked, call(f"call_{number}"), output(f"call_{number}")),)
        case "compact":
            planned = plan(state, tokens_budget=10 + dice % 60)
            if planned is None:
                return ()
            summary = compaction_item(f"cmp_{number}", tokens=1 + dice % 3)
            before = sum(item.tokens for item in state.window())
            return (compacted(summary, covered=planned.covered, before=before, after=1),)
        case "undo" if state.compactions:
            return _deleted(state, state.compactions[dice % len(state.compactions)].item.id)
        case "delete":
            standing = list(state.listed(0, descending=False))
            return _deleted(state, standing[dice % len(standing)].id) if standing else ()
        case _:
            return ()


def _deleted(state: Conversation, item_id: str) -> tuple[e.Event, ...]:
    command = c.DeleteItem(item_id=item_id)
    try:
        return decide(state, command, conversation_id=CONVERSATION_ID, policy=Policy())
    except Refused:
        return ()


def never_made(events: list[e.Event]) -> list[e.Event]:
    """``events`` with each compaction that was undone as an item that came and went."""
    undone = {event.item_id for event in events if isinstance(event, e.CompactionReverted)}
    told: list[e.Event] = []
    for event in events:
        match event:
            case e.ConversationCompacted() if item_of(event.item, 1).id in undone:
                told.append(e.ItemsAdded(items=(event.item,), tokens=(event.tokens,)))
            case e.CompactionReverted():
                told.append(e.ItemDeleted(item_id=event.item_id))
            case _:
                told.append(event)
    return told


@PROPERTY
@for_all(st.lists(STEP, min_size=4, max_size=40))
def test_a_compaction_that_was_undone_might_never_have_been_made(steps):
    events: list[e.Event] = [created()]
    for number, (what, dice) in enumerate(steps):
        events += step(state_of(*events), what, dice, number)
    undone, imagined = state_of(*events), state_of(*never_made(events))
    assert as_bytes(undone) == as_bytes(imagined)
    assert [done.item.id for done in undone.compactions] == [
        done.item.id for done in imagined.compactions
    ]


@PROPERTY
@for_all(st.lists(STEP, min_size=4, max_size=40), st.integers(1, 5))
def test_undoing_all_of_them_leaves_what_is_listed(steps, more):
    events: list[e.Event] = [created()]
    for number, (what, dice) in enumerate(steps):
        events += step(state_of(*events), what, dice, number)
    events.append(added(*(message(f"msg_m{n}") for n in range(more))))
    while (state := state_of(*events)).compactions:
        oldest = state.compactions[0].item.id
        newest = state.compactions[-1].item.id
        events += _deleted(state, newest if more % 2 else oldest)
    listed = [bytes(item.raw) for item in state.listed(0, descending=False)]
    assert as_bytes(state) == listed
