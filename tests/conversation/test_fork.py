"""What a fork takes along, over any history."""

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas.events import ConversationForked, ForkedCompaction
from services.conversation import fork
from services.conversation.budget import Policy
from services.conversation.commands import AddItems, DeleteItem, ForkConversation
from services.conversation.decide import decide
from services.conversation.history import Compaction
from services.conversation.refusals import ConversationUnknown
from services.conversation.state import NEW, UNSTORED, Conversation, evolve
from services.conversation.visible import visible
from tests.builders import (
    AT,
    PROPERTY,
    added,
    after,
    compacted,
    compaction_item,
    completed,
    created,
    in_turn,
    listed,
    message,
    requested,
    said,
    state_of,
)
from tests.specification import given
from tests.storytelling import STORIES, told

LARGE = 1_000_000


def parts(state: Conversation, *, bytes_max: int = LARGE) -> list[ConversationForked]:
    return list(fork.parts(state, origin="conv_1", sequence=7, digest="d1", bytes_max=bytes_max))


def forked(state: Conversation, *, bytes_max: int = LARGE) -> Conversation:
    copy = NEW
    for number, part in enumerate(parts(state, bytes_max=bytes_max)):
        copy = evolve(copy, part, at=AT, sequence=number + 1)
    return copy


def raws(items):
    return [bytes(item.raw) for item in items]


@PROPERTY
@for_all(STORIES)
def test_a_fork_has_the_window_of_its_origin_to_the_byte(story):
    state = told(story)
    copy = forked(state)
    assert raws(copy.window()) == raws(state.window())
    assert raws(copy.listed(0, descending=False)) == raws(state.listed(0, descending=False))
    for name in ("tokens", "metadata", "crossed", "budget"):
        assert getattr(copy, name) == getattr(state, name)
    assert [c.crossed for c in copy.compactions] == [c.crossed for c in state.compactions]
    assert (len(copy.removed), copy.running, len(copy.turns)) == (0, (), 0)


@PROPERTY
@for_all(STORIES, st.integers(200, 600))
def test_a_fork_in_many_parts_is_the_same_as_in_one(story, bytes_max):
    state = told(story)
    some, one = forked(state, bytes_max=bytes_max), forked(state)
    assert [raws(each.window()) for each in (some, one)] == [raws(state.window())] * 2
    assert [(c.item.id, c.covered, c.kept) for c in some.compactions] == [
        (c.item.id, c.covered, c.kept) for c in one.compactions
    ]


def story() -> Conversation:
    """Two summaries, one on top of the other; an item that left, and a turn that runs."""
    return state_of(
        created(topic="a"),
        added(*(message(f"msg_{n}", f"text {n}") for n in range(6))),
        compacted(compaction_item("cmp_1"), covered=3, before=6, after=4, kept=("msg_1",)),
        requested("resp_1", message("msg_6")),
        completed(
            "resp_1",
            compaction_item("cmp_2"),
            said("msg_7"),
            compaction=in_turn("cmp_2", covered=5, before=9, after=4, kept=("msg_4",)),
        ),
        requested("resp_2", message("msg_8")),
    )


def test_summaries_stay_in_force_and_can_be_undone():
    state = story()
    copy = forked(state)
    assert raws(copy.window()) == raws(state.window())
    assert listed(copy) == listed(state)
    undone = [after(each, *_undo(each, "cmp_2")) for each in (state, copy)]
    assert raws(undone[1].window()) == raws(undone[0].window())
    twice = [after(each, *_undo(each, "cmp_1")) for each in undone]
    assert raws(twice[1].window()) == raws(twice[0].window())


def _undo(state, item_id):
    command = DeleteItem(item_id=item_id)
    return decide(state, command, conversation_id="conv_1", policy=Policy())


def test_what_left_the_line_is_not_copied():
    state = after(story(), *_undo(story(), "msg_5"))
    told = b"".join(msgspec.json.encode(part) for part in parts(state))
    assert b"text 5" not in told
    assert b"text 4" in told
    assert raws(forked(state).window()) == raws(state.window())


def test_a_turn_that_runs_is_no_part_of_it():
    copy = forked(story())
    assert copy.turn_on_line is None
    assert "msg_8" not in listed(copy)


def test_nobody_can_address_a_fork_before_its_last_part():
    whole = parts(story(), bytes_max=400)
    assert [part.more for part in whole] == [True] * (len(whole) - 1) + [False]
    assert len(whole) > 2
    copy = NEW
    for part in whole:
        assert not visible(copy)
        copy = evolve(copy, part, at=AT, sequence=1)
    assert visible(copy)
    given(whole[0]).when(AddItems(items=(message("msg_9"),))).refuses(ConversationUnknown)


def test_a_part_has_no_more_bytes_than_it_may_unless_one_item_has():
    large = message("msg_9", "x" * 900)
    state = after(story(), added(large))
    sizes = [len(msgspec.json.encode(part)) for part in parts(state, bytes_max=700)]
    assert sorted(sizes)[-2] <= 700 < max(sizes)


def test_a_fork_is_begun_and_gone_on_with_and_is_whole_then():
    first, second = (
        part
        for part in parts(
            state_of(created(), added(message("msg_1", "a" * 300), message("msg_2", "b" * 300))),
            bytes_max=700,
        )
    )
    begun = given().when(ForkConversation(part=first)).then(first)
    whole = begun.when(ForkConversation(part=second)).then(second)
    whole.when(ForkConversation(part=second)).then()


def test_a_commit_tells_of_its_own_summaries_that_they_are_its_own():
    (part,) = parts(story())
    state = evolve(NEW, part, at=AT, sequence=UNSTORED)
    assert state.outline().window == UNSTORED
    assert {c.sequence for c in state.stored_at(9).compactions} == {9}


def test_a_fork_takes_all_of_a_summary_along():
    taken = set(ForkedCompaction.__struct_fields__) - {"item_id"}
    assert taken == set(Compaction.__struct_fields__) - {"item", "position", "sequence"}


@pytest.mark.parametrize("bytes_max", [1, LARGE])
def test_an_empty_conversation_can_be_forked(bytes_max):
    copy = forked(state_of(created(topic="a")), bytes_max=bytes_max)
    assert visible(copy)
    assert (copy.metadata, len(copy.line)) == ({"topic": "a"}, 0)
