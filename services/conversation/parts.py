"""What the items of a window are there for."""

from collections.abc import Sequence

from services.conversation.history import Item, summary_at
from services.conversation.state import Conversation

SUMMARY, KEPT, LATER = "summary", "kept", "later"
PARTS = (SUMMARY, KEPT, LATER)
"""A summary, what stood beside it when it was made, and all that came since."""


def parts(state: Conversation, window: Sequence[Item]) -> tuple[str, ...]:
    """The part of each item of a window; without a summary all of them came later than none."""
    at = summary_at(window)
    if at is None:
        return (LATER,) * len(window)
    kept = _kept(state, window[at].id)
    return tuple(
        SUMMARY if index == at else KEPT if index < at or item.id in kept else LATER
        for index, item in enumerate(window)
    )


def _kept(state: Conversation, summary: str) -> frozenset[str]:
    """Items that a summary left as they were, by id; none if a client has brought it along."""
    for done in state.compactions:
        if done.item.id == summary:
            standing = state.line.between(done.covered, done.position)
            return frozenset((*done.kept, *(item.id for item in standing)))
    for turn in state.turns.downwards(len(state.turns)):
        if turn.compaction is not None and turn.compaction.item_id == summary:
            given = turn.input[turn.compaction.covered :]
            return frozenset((*turn.compaction.kept, *(item.id for item in given)))
    return frozenset()
