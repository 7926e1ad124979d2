"""Which part of a line a summary may replace, and what must stay verbatim.

Additive: only items no summary covers yet are summarised; earlier summaries are carried over as
they are, until together they outgrow their share of the budget.
"""

from collections.abc import Iterable

import msgspec

from services.conversation.history import Item
from services.conversation.state import Conversation

KEPT_SHARE = 0.3
"""Share of the budget for the most recent items, which stay verbatim."""
SUMMARY_SHARE = 0.4
"""Share of the budget for summaries; above it they are summarised together with the new items."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to summarise, and the state it was read from.

    ``items`` are to be summarised; ``carried`` is the earlier summary to put in front, empty when
    it is among ``items``.
    """

    items: tuple[Item, ...]
    carried: str
    covered: int
    after: str | None
    removed: frozenset[int]
    tokens_before: int
    tokens_kept: int


def plan(state: Conversation, *, tokens_budget: int) -> Plan | None:
    """What a compaction would cover now; ``None`` when there is nothing to gain."""
    newest = state.compactions[-1] if state.compactions else None
    start, end = (newest.covered if newest else 0), len(state.line)
    covered = _boundary(state, start, end, tokens=int(tokens_budget * KEPT_SHARE))
    items = _standing(state, start, covered)
    if not items:
        return None
    carried = newest.summary if newest else ""
    if newest is not None and newest.item.tokens > tokens_budget * SUMMARY_SHARE:
        items, carried = (newest.item, *items), ""
    kept = _standing(state, covered, end)
    return Plan(
        items=items,
        carried=carried,
        covered=covered,
        after=newest.item.id if newest else None,
        removed=state.removed,
        tokens_before=sum(item.tokens for item in state.window()),
        tokens_kept=sum(item.tokens for item in kept),
    )


def below(positions: Iterable[int], limit: int) -> frozenset[int]:
    """Those positions that a summary up to ``limit`` covers."""
    return frozenset(position for position in positions if position < limit)


def _standing(state: Conversation, start: int, end: int) -> tuple[Item, ...]:
    """Items of the line between two positions that have not left it and are no summaries."""
    return tuple(
        item
        for position, item in enumerate(state.line.between(start, end), start)
        if position not in state.removed and item.type != "compaction"
    )


def _boundary(state: Conversation, start: int, end: int, *, tokens: int) -> int:
    """The lowest position from which the rest fits ``tokens`` and no tool call loses its output.

    A turn begins with a user's message: only there may the line be cut, or at its end.
    """
    best, held = end, 0
    rows = list(enumerate(state.line.between(start, end), start))
    unanswered: set[str] = set()
    for position, item in reversed(rows):
        if position in state.removed or item.type == "compaction":
            continue
        held += item.tokens
        if held > tokens:
            break
        if item.call_id is not None:
            if item.type.endswith("_output"):
                unanswered.add(item.call_id)
            else:
                unanswered.discard(item.call_id)
        if item.role == "user" and not unanswered:
            best = position
    return best if best < end or not _open_calls(state, start, end) else start


def _open_calls(state: Conversation, start: int, end: int) -> bool:
    """Whether a tool call still waits for its output: then its end of the line must stay."""
    waiting: set[str] = set()
    for item in _standing(state, start, end):
        if item.call_id is None:
            continue
        if item.type.endswith("_output"):
            waiting.discard(item.call_id)
        else:
            waiting.add(item.call_id)
    return bool(waiting)
