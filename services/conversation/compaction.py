"""Which part of a line a summary may replace, and what must stay verbatim.

Additive: only items no summary covers yet are told; earlier summaries are carried over as they are,
until together they outgrow their share of the budget. Verbatim stay the most recent items, and of
the rest the user's newest messages, up to a share: those are told by the summary as well, so that
none has to be told when it leaves.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from services.conversation import pairing
from services.conversation.history import Item
from services.conversation.state import Conversation

KEPT_SHARE = 0.3
"""Share of the budget for the most recent items, which stay verbatim."""
SAID_SHARE = 0.1
"""Share of the budget for older messages of the user, which stay verbatim."""
SAID_TOKENS = 20_000
"""Tokens of them at most, whatever the budget."""
SAID_BYTES = 2 * 1024 * 1024
"""And their bytes, since pictures in them are no tokens to us; a window is one message at times."""
SUMMARY_SHARE = 0.4
"""Share of the budget for summaries; above it they are told anew, together with the new items."""
TOLD_SHARE = 0.1
"""Share of the budget for what is told behind an earlier summary."""
TOLD_ANEW_SHARE = 0.3
"""Share of the budget for what is told without one: it holds the anchors of all there ever was."""
TOLD_TOKENS_LEAST = 200
"""Tokens for what is told, however small the budget; less holds little but labels."""
TOLD_LEAST_SHARE = 0.2
"""Share of what is to be told, or so many tokens: with less, an earlier summary gives way."""
SHRINK_SHARE = 0.2
"""Least share of its tokens by which a window must shrink."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to tell, and the state it was read from.

    ``items`` are to be told; ``carried`` is the earlier summary to put in front, empty when it is
    told anew: then ``sources`` are all items it stood for, and the new ones. ``shown`` is the
    beginning of the window up to them. Below ``covered`` only ``kept`` stays verbatim, and
    ``recent`` behind it. ``tokens_max`` are there for what is told; with 0 or less nothing is to be
    gained. ``tokens_wanted`` leave room for summaries to come.
    """

    items: tuple[Item, ...]
    sources: tuple[Item, ...]
    shown: tuple[Item, ...]
    carried: str
    covered: int
    covered_from: int
    kept: tuple[Item, ...]
    recent: tuple[Item, ...]
    after: str | None
    removed: frozenset[int]
    tokens_before: int
    tokens_max: int
    tokens_wanted: int

    @property
    def tokens_kept(self) -> int:
        """Size of what stays verbatim."""
        return size((*self.kept, *self.recent))


def plan(
    state: Conversation,
    *,
    tokens_budget: int,
    shrink_share: float = SHRINK_SHARE,
    seals_elsewhere: bool = False,
) -> Plan | None:
    """What a compaction would cover now; ``None`` when there is nothing to cover.

    ``seals_elsewhere``: whoever tells it can read summaries that we cannot, and carries none over.
    """
    newest = state.compactions[-1] if state.compactions else None
    start, end = (newest.covered if newest else 0), len(state.line)
    covered = _boundary(state, start, end, tokens=int(tokens_budget * KEPT_SHARE))
    untold, recent = standing(state, start, covered), standing(state, covered, end)
    if not untold:
        return None
    window = state.window()
    shown = window[: len(window) - len(recent)]
    left = int(size(window) * (1 - shrink_share)) - size(recent)
    carried = newest.item.tokens if newest else 0
    anew = (
        newest is None
        or seals_elsewhere
        or not newest.summary
        or carried > tokens_budget * SUMMARY_SHARE
        or crowded(left - carried, untold)
    )
    if newest and not newest.summary and not seals_elsewhere:
        # Only its maker can read it: what it stands for is told again.
        shown = standing(state, 0, covered)
    if not anew:
        left -= carried
    kept = said_by_user(
        shown,
        tokens_max=min(SAID_TOKENS, int(tokens_budget * SAID_SHARE), left // 2),
        bytes_max=SAID_BYTES,
    )
    share = TOLD_ANEW_SHARE if anew else TOLD_SHARE
    return Plan(
        items=shown if anew else untold,
        sources=standing(state, 0, covered) if anew else untold,
        shown=shown,
        carried=newest.summary if newest and not anew else "",
        covered=covered,
        covered_from=0 if anew else start,
        kept=kept,
        recent=recent,
        after=newest.item.id if newest else None,
        removed=state.removed,
        tokens_before=size(window),
        tokens_max=left - size(kept),
        tokens_wanted=told_most(left - size(kept), tokens_budget=tokens_budget, share=share),
    )


def crowded(left: int, untold: Sequence[Item]) -> bool:
    """Whether what is left beside an earlier summary is too little to tell more."""
    return left < min(TOLD_TOKENS_LEAST, size(untold) * TOLD_LEAST_SHARE)


def told_most(left: int, *, tokens_budget: int, share: float) -> int:
    """Tokens for what is told, of those that are left; budget 0: there is none."""
    if not tokens_budget:
        return left
    return min(left, max(TOLD_TOKENS_LEAST, int(tokens_budget * share)))


def said_by_user(items: Sequence[Item], *, tokens_max: int, bytes_max: int) -> tuple[Item, ...]:
    """The user's messages in their order, as many as fit; the newest are chosen first."""
    chosen: list[Item] = []
    tokens, length = 0, 0
    for item in reversed(items):
        fits = tokens + item.tokens <= tokens_max and length + len(bytes(item.raw)) <= bytes_max
        if item.role == "user" and fits:
            chosen.append(item)
            tokens, length = tokens + item.tokens, length + len(bytes(item.raw))
    return tuple(reversed(chosen))


def size(items: Sequence[Item]) -> int:
    """Tokens of items."""
    return sum(item.tokens for item in items)


def below(positions: Iterable[int], limit: int) -> frozenset[int]:
    """Those positions that a summary up to ``limit`` covers."""
    return frozenset(position for position in positions if position < limit)


def standing(state: Conversation, start: int, end: int) -> tuple[Item, ...]:
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
