"""Which part of a line a summary may replace, and what must stay verbatim.

Additive: only items no summary covers yet are summarised; earlier summaries are carried over as
they are, until together they outgrow their share of the budget.
"""

from collections.abc import Iterable, Iterator

import msgspec

from services.conversation import pairing
from services.conversation.history import Item
from services.conversation.state import Conversation

KEPT_SHARE = 0.3
"""Share of the budget for the most recent items, which stay verbatim."""
SUMMARY_SHARE = 0.4
"""Share of the budget for summaries; above it they are summarised together with the new items."""
METHOD = "summary"
"""How a compaction was made, as the log tells it: the model's words for all it covers."""


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

    def shrinks(self, tokens: int) -> bool:
        """Whether a summary of ``tokens`` makes the window smaller."""
        return tokens + self.tokens_kept < self.tokens_before


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
    """Items of the line between two positions that have not left it and are no summaries of it."""
    return tuple(item for _, item in _positions(state, start, end))


def _positions(state: Conversation, start: int, end: int) -> Iterator[tuple[int, Item]]:
    # A compaction item a client brought along is an item like any other: only it tells its past.
    left_out = state.removed.union(done.position for done in state.compactions)
    for position, item in enumerate(state.line.between(start, end), start):
        if position not in left_out:
            yield position, item


def _boundary(state: Conversation, start: int, end: int, *, tokens: int) -> int:
    """The lowest position from which the rest fits ``tokens``; ``start`` if nothing may be covered.

    A turn begins with a user's message: the line is cut only there, or at its end, and never while
    a tool call before the cut waits for its output.
    """
    cuts: list[tuple[int, int]] = []
    waiting: set[pairing.Call] = set()
    held = 0
    standing = tuple(_positions(state, start, end))
    answered = pairing.answered([item for _, item in standing])
    for (position, item), answer in zip(standing, answered, strict=True):
        if item.role == "user" and not waiting:
            cuts.append((position, held))
        held += item.tokens
        if call := pairing.call_of(item):
            waiting.add(call)
        elif answer:
            waiting.discard(answer)
    if not waiting:
        cuts.append((end, held))
    fitting = (position for position, before in cuts if held - before <= tokens)
    last = cuts[-1][0] if cuts else start
    return next(fitting, last)
