"""What a summary may stand for within one turn, or for a client that asks for nothing else.

A context is history, then input. An earlier summary that opens it is carried over as it is, until
it has outgrown its share. What stays verbatim is always whole: no output without its call.
"""

from collections.abc import Sequence
from itertools import takewhile

import msgspec

from schemas.events import TurnCompaction
from services.conversation import pairing
from services.conversation.commands import TurnSummary
from services.conversation.compaction import (
    KEPT_SHARE,
    SAID_BYTES,
    SAID_SHARE,
    SAID_TOKENS,
    SHRINK_SHARE,
    SUMMARY_SHARE,
    TOLD_ANEW_SHARE,
    TOLD_SHARE,
    TOLD_TOKENS_LEAST,
    crowded,
    said_by_user,
    size,
    standing,
    told_most,
)
from services.conversation.history import Item, Turn, summary_at
from services.conversation.state import Conversation, counted_tokens
from services.conversation.window import by_model, of_chain


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn starts from; ``tokens`` is its size, by whoever has counted it."""

    history: tuple[Item, ...]
    input: tuple[Item, ...]
    tokens: int = 0


class TurnPlan(msgspec.Struct, frozen=True, kw_only=True):
    """``items`` are to be told behind the ``carried`` summary, in ``tokens_max`` at most.

    ``shown`` is the beginning of the context up to them. Verbatim stay ``said``, which are the
    user's and told as well, ``kept`` of the history, and ``input``.
    """

    carried: Item | None
    items: tuple[Item, ...]
    shown: tuple[Item, ...]
    said: tuple[Item, ...] = ()
    kept: tuple[Item, ...] = ()
    input: tuple[Item, ...] = ()
    tokens_before: int
    tokens_max: int
    tokens_wanted: int

    def anew(self) -> "TurnPlan":
        """The same without an earlier summary that is carried over."""
        if self.carried is None or not self.items:
            return self
        return msgspec.structs.replace(
            self,
            carried=None,
            items=self.shown,
            tokens_max=self.tokens_max + self.carried.tokens,
        )

    @property
    def tokens_kept(self) -> int:
        """Size of what stays verbatim."""
        return size((*self.said, *self.kept, *self.input))


def context_of(state: Conversation, turn: Turn, history: tuple[Item, ...]) -> Context:
    """The context of a turn whose ``history`` is known; by the provider's count where it has one.

    No provider has seen the input, nor what is left by a turn that was only a summary.
    """
    before = state.tokens if turn.on_line else _counted(state, turn.parent) or size(history)
    return Context(history=history, input=turn.shown, tokens=before + size(turn.shown))


def _counted(state: Conversation, response_id: str | None) -> int:
    turn = state.turns.get(response_id) if response_id is not None else None
    if turn is None or all(item.type == "compaction" for item in turn.output) or turn.truncates:
        return 0
    return counted_tokens(turn.usage)


def before_answer(
    context: Context, *, threshold: int, shrink_share: float = SHRINK_SHARE
) -> TurnPlan | None:
    """What to summarise before the model is called; ``None`` if there is nothing to gain.

    Usually the history. Input that comes without any is summarised as a whole, since its client
    may drop all of it behind the summary; its end stays verbatim as well.
    """
    whole = (*context.history, *context.input)
    start = len(context.history) or _end_of(context.input, tokens=int(threshold * KEPT_SHARE))
    start = _whole_from(whole, start)
    told = whole[:start] if context.history else whole
    carried, items = _parts(told, summary_most=int(threshold * SUMMARY_SHARE))
    if start == 0 or not items:
        return None
    kept, given = whole[start : len(context.history)], whole[max(start, len(context.history)) :]
    left = int(size(whole) * (1 - shrink_share)) - size((*kept, *given))
    if carried is not None and crowded(left - carried.tokens, items):
        carried, items = None, told
    left -= carried.tokens if carried else 0
    # An array is its client's, who may drop all of it but the summary.
    said = said_by_user(
        told if context.history else (),
        tokens_max=min(SAID_TOKENS, int(threshold * SAID_SHARE), left // 2),
        bytes_max=SAID_BYTES,
    )
    share = TOLD_SHARE if carried else TOLD_ANEW_SHARE
    return TurnPlan(
        carried=carried,
        items=items,
        shown=told,
        said=said,
        kept=kept,
        input=given,
        tokens_before=size(whole),
        tokens_max=left - size(said),
        tokens_wanted=told_most(left - size(said), tokens_budget=threshold, share=share),
    )


def once_said(planned: TurnPlan, *, turn: Turn, state: Conversation) -> tuple[Item, ...]:
    """What a plan is about, with what summaries among its items stand for in their place.

    Nothing if there are none. Those that clients have brought along only they could tell.
    """
    if all(item.type != "compaction" for item in planned.items):
        return ()
    before: tuple[Item, ...] = ()
    chain: tuple[Turn, ...] = ()
    if turn.on_line:
        before = standing(state, 0, len(state.line))
    elif turn.parent is not None:
        chain = of_chain(state.turns, turn.parent)
        if chain and chain[0].on_line:
            before = standing(state, 0, chain[0].line_end)
            chain = chain[1:] if chain[0].joined else chain
    whole = (*before, *(item for each in chain for item in each.context), *turn.shown)
    verbatim = {item.id for item in (*planned.kept, *planned.input)}
    return tuple(takewhile(lambda item: item.id not in verbatim, whole))


def of_all(context: Context, *, tokens_budget: int, shrink_share: float = SHRINK_SHARE) -> TurnPlan:
    """A summary that stands for the whole context; budget 0: there is none.

    It was asked for: what is too small to shrink is told in a few words nevertheless.
    """
    whole = (*context.history, *context.input)
    most = int(tokens_budget * SUMMARY_SHARE) or size(whole)
    carried, items = _parts(whole, summary_most=most)
    left = int(size(whole) * (1 - shrink_share))
    if carried is not None and items and crowded(left - carried.tokens, items):
        carried, items = None, whole
    left -= carried.tokens if carried else 0
    share = TOLD_SHARE if carried else TOLD_ANEW_SHARE
    told = told_most(left, tokens_budget=tokens_budget, share=share)
    return TurnPlan(
        carried=carried,
        items=items,
        shown=whole,
        tokens_before=size(whole),
        tokens_max=max(TOLD_TOKENS_LEAST, left),
        tokens_wanted=max(TOLD_TOKENS_LEAST, told),
    )


def recorded(
    planned: TurnPlan, item: Item, *, turn: Turn, state: Conversation, summary: str, method: str
) -> TurnSummary:
    """What the log is told of a summary made as planned, in the state the plan was made from."""
    covered = len(state.line) if turn.on_line else 0
    if turn.on_line and planned.kept:
        standing = state.position(planned.kept[0].id)
        covered = covered if standing is None else standing
    beside = planned.said if turn.on_line else (*planned.said, *planned.kept)
    carried = turn.on_line and planned.carried is not None and state.compactions
    return TurnSummary(
        item_id=item.id,
        summary=summary,
        covered=covered,
        input_covered=len(turn.input) - len(planned.input),
        kept=tuple(kept.id for kept in beside),
        method=method,
        tokens_before=planned.tokens_before,
        tokens_after=item.tokens + planned.tokens_kept,
        covered_from=state.compactions[-1].covered if carried else 0,
    )


def stored(told: TurnSummary, turn: Turn, state: Conversation) -> TurnCompaction:
    """What the log holds of it, in the state in which the turn ends."""
    covered = told.covered + told.input_covered
    if turn.on_line and told.input_covered and len(state.line) != told.covered:
        # What was added by hand meanwhile stands before the input, and is in no summary.
        covered = told.covered
    return TurnCompaction(
        item_id=told.item_id,
        summary=told.summary,
        covered=covered,
        kept=told.kept,
        method=told.method,
        tokens_before=told.tokens_before,
        tokens_after=told.tokens_after,
        fallback=told.fallback,
        covered_from=told.covered_from,
        anchors_found=told.anchors_found,
        anchors_kept=told.anchors_kept,
    )


def _parts(told: tuple[Item, ...], *, summary_most: int) -> tuple[Item | None, tuple[Item, ...]]:
    """The summary to carry over, and what it does not tell."""
    at = summary_at(told)
    if at is None:
        return None, told
    if told[at].tokens > summary_most:
        return None, told[at:]
    return told[at], told[at + 1 :]


def _end_of(given: tuple[Item, ...], *, tokens: int) -> int:
    """Where the end of an array begins: at the user's last message.

    When a model has called tools since, for more than ``tokens``: at the outputs it waits for.
    """
    user = next((n for n in range(len(given) - 1, -1, -1) if given[n].role == "user"), 0)
    outputs = len(given)
    while outputs and pairing.answer_to_call(given[outputs - 1]):
        outputs -= 1
    waiting = outputs < len(given) and size(given[user:]) > tokens
    return outputs if waiting else user


def _whole_from(items: Sequence[Item], start: int) -> int:
    """``start``, or the item before it from which no output lacks its call.

    What a model said together with a call stays with it.
    """
    calls = {call: n for n, item in enumerate(items) if (call := pairing.call_of(item))}
    answered = pairing.answered(items)
    place = len(items)
    while place > start:
        place -= 1
        call = answered[place]
        called = calls.get(call, place) if call else place
        if called < start:
            start = called
            while start and by_model(items[start - 1]) and items[start - 1].type != "compaction":
                start -= 1
    return start
