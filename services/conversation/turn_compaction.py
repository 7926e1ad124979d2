"""What a summary may stand for within one turn, or for a client that asks for nothing else.

A context is history, then input. An earlier summary that opens it is carried over as it is, until
it has outgrown its share. What stays verbatim is always whole: no output without its call.
"""

from collections.abc import Sequence

import msgspec

from schemas.events import TurnCompaction
from services.conversation import pairing
from services.conversation.commands import TurnSummary
from services.conversation.compaction import KEPT_SHARE, METHOD, SUMMARY_SHARE
from services.conversation.history import Item, Turn, summary_at
from services.conversation.state import Conversation, counted_tokens
from services.conversation.window import by_model


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn starts from; ``tokens`` is its size, by whoever has counted it."""

    history: tuple[Item, ...]
    input: tuple[Item, ...]
    tokens: int = 0


class TurnPlan(msgspec.Struct, frozen=True, kw_only=True):
    """``items`` are to be summarised behind the ``carried`` summary.

    Verbatim stay ``kept`` of the history, and ``input``.
    """

    carried: Item | None
    items: tuple[Item, ...]
    kept: tuple[Item, ...] = ()
    input: tuple[Item, ...] = ()
    tokens_before: int

    @property
    def tokens_kept(self) -> int:
        """Size of what stays verbatim."""
        return _size((*self.kept, *self.input))

    def shrinks(self, tokens: int) -> bool:
        """Whether a summary of ``tokens`` makes the window smaller."""
        return tokens + self.tokens_kept < self.tokens_before


def context_of(state: Conversation, turn: Turn, history: tuple[Item, ...]) -> Context:
    """The context of a turn whose ``history`` is known; by the provider's count where it has one.

    No provider has seen the input, nor what is left by a turn that was only a summary.
    """
    before = state.tokens if turn.on_line else _counted(state, turn.parent) or _size(history)
    return Context(history=history, input=turn.shown, tokens=before + _size(turn.shown))


def _counted(state: Conversation, response_id: str | None) -> int:
    turn = state.turns.get(response_id) if response_id is not None else None
    if turn is None or all(item.type == "compaction" for item in turn.output) or turn.truncates:
        return 0
    return counted_tokens(turn.usage)


def before_answer(context: Context, *, threshold: int) -> TurnPlan | None:
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
    return TurnPlan(
        carried=carried,
        items=items,
        kept=whole[start : len(context.history)],
        input=whole[max(start, len(context.history)) :],
        tokens_before=_size(whole),
    )


def of_all(context: Context, *, tokens_budget: int) -> TurnPlan:
    """A summary that stands for the whole context, whatever it gains; budget 0: there is none."""
    whole = (*context.history, *context.input)
    most = int(tokens_budget * SUMMARY_SHARE) or _size(whole)
    carried, items = _parts(whole, summary_most=most)
    return TurnPlan(carried=carried, items=items, tokens_before=_size(whole))


def recorded(
    planned: TurnPlan, item: Item, *, summary: str, turn: Turn, state: Conversation
) -> TurnSummary:
    """What the log is told of a summary made as planned, in the state the plan was made from."""
    covered = len(state.line) if turn.on_line else 0
    if turn.on_line and planned.kept:
        standing = state.position(planned.kept[0].id)
        covered = covered if standing is None else standing
    return TurnSummary(
        item_id=item.id,
        summary=summary,
        covered=covered,
        input_covered=len(turn.input) - len(planned.input),
        kept=() if turn.on_line else tuple(kept.id for kept in planned.kept),
        method=METHOD,
        tokens_before=planned.tokens_before,
        tokens_after=item.tokens + planned.tokens_kept,
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
    )


def said_by_user(items: Sequence[Item], *, tokens_max: int, bytes_max: int) -> tuple[Item, ...]:
    """The user's messages in their order, as many as fit; the newest are chosen first."""
    chosen: list[Item] = []
    tokens, size = 0, 0
    for item in reversed(items):
        fits = tokens + item.tokens <= tokens_max and size + len(bytes(item.raw)) <= bytes_max
        if item.role == "user" and fits:
            chosen.append(item)
            tokens, size = tokens + item.tokens, size + len(bytes(item.raw))
    return tuple(reversed(chosen))


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
    waiting = outputs < len(given) and _size(given[user:]) > tokens
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


def _size(items: Sequence[Item]) -> int:
    return sum(item.tokens for item in items)
