"""What a conversation is after its events: `evolve`, total and pure.

History is a fact: `evolve` never refuses. Refusing belongs to `decide`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import assert_never

import msgspec

from schemas import events as e
from schemas import items
from schemas.envelope import Outline
from services.conversation import window
from services.conversation.history import Compaction, Item, Turn, item_of, read_items
from services.conversation.line import Line

UNSTORED = -1
"""Sequence of a commit that is only about to be stored; what its own outline says of itself."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the rules know of one conversation.

    ``line`` holds every item that ever joined, ``removed`` the positions that left again. ``turns``
    holds ended turns, ``running`` those in progress. ``crossed`` is the size at which the budget
    was last found crossed, 0 when a compaction has answered that, and ``budget`` which one that
    was. ``summarised`` holds the turns off the line whose own summary is in force, each with the
    length of the line beneath it. ``erased``: nothing else is known any more, nor will be.
    """

    exists: bool = False
    hidden: bool = False
    deleted: bool = False
    erased: bool = False
    created_at: datetime | None = None
    metadata: dict[str, str] = {}
    line: Line[Item] = msgspec.field(default_factory=Line)
    removed: frozenset[int] = frozenset()
    turns: Line[Turn] = msgspec.field(default_factory=Line)
    running: tuple[Turn, ...] = ()
    responses_deleted: frozenset[str] = frozenset()
    compactions: tuple[Compaction, ...] = ()
    summarised: dict[str, int] = {}
    tokens: int = 0
    crossed: int = 0
    budget: int = 0

    @property
    def turn_on_line(self) -> Turn | None:
        """The one turn that will join the line, while it runs."""
        return next((turn for turn in self.running if turn.on_line), None)

    def turn_running(self, response_id: str) -> Turn | None:
        """The turn with this response id, while it runs."""
        return next((turn for turn in self.running if turn.id == response_id), None)

    def turn(self, response_id: str) -> Turn | None:
        """The turn with this response id, running or ended."""
        return self.turn_running(response_id) or self.turns.get(response_id)

    def position(self, item_id: str) -> int | None:
        """Where an item stands on the line, unless it has left it."""
        position = self.line.position(item_id)
        return None if position in self.removed else position

    def item(self, item_id: str) -> Item | None:
        """An item of the line that has not left it."""
        return None if self.position(item_id) is None else self.line.get(item_id)

    def listed(self, start: int, *, descending: bool) -> Iterator[Item]:
        """Items that have not left the line, from position ``start`` on."""
        if descending:
            start = min(start, len(self.line) - 1)
            walk = enumerate(self.line.downwards(start))
            return (item for step, item in walk if start - step not in self.removed)
        start = max(start, 0)
        walk = enumerate(self.line.upwards(start))
        return (item for step, item in walk if start + step not in self.removed)

    def window(self, end: int | None = None) -> tuple[Item, ...]:
        """What the model is sent before new input; ``end`` cuts the line at an earlier length."""
        return window.of_line(
            self.line,
            removed=self.removed,
            compactions=self.compactions,
            end=len(self.line) if end is None else end,
        )

    def outline(self) -> Outline:
        """The snapshot a commit carries in its headers."""
        on_line = self.turn_on_line
        return Outline(
            items=len(self.line),
            window=self.compactions[-1].sequence if self.compactions else 0,
            running=on_line.id if on_line else None,
            deleted=self.deleted,
            tokens=self.tokens,
        )

    def stored_at(self, sequence: int) -> "Conversation":
        """This state, once the commit that led to it has its sequence."""
        if not self.compactions or self.compactions[-1].sequence != UNSTORED:
            return self
        stored = tuple(
            msgspec.structs.replace(done, sequence=sequence) if done.sequence == UNSTORED else done
            for done in self.compactions
        )
        return msgspec.structs.replace(self, compactions=stored)


NEW = Conversation()
"""A conversation without events. Shared safely: extending its empty line makes another."""


def evolve(state: Conversation, event: e.Event, *, at: datetime, sequence: int) -> Conversation:
    """The state after ``event``, stored at ``at`` under stream ``sequence``."""
    change = msgspec.structs.replace
    match event:
        case e.ConversationCreated():
            return change(
                state, exists=True, hidden=event.hidden, created_at=at, metadata=event.metadata
            )
        case e.ConversationUpdated():
            return change(state, metadata=event.metadata)
        case e.ConversationDeleted():
            return change(state, deleted=True)
        case e.ItemsAdded():
            added = read_items(event.items, event.tokens)
            return _joined(state, added, tokens_after(state, event))
        case e.ItemDeleted():
            return _without(state, event.item_id)
        case e.TurnRequested():
            return change(state, running=(*state.running, _requested(state, event, at=at)))
        case e.TurnStarted():
            return _begun_again(state, event)
        case e.TurnCompleted():
            return _completed(state, event, at=at, sequence=sequence)
        case e.TurnFailed():
            return _ended(
                state,
                event.response_id,
                status="failed",
                error_code=event.code,
                error_message=event.message,
                output=read_items(event.items, event.tokens),
                ended_at=at,
                line_end=len(state.line),
            )
        case e.TurnCancelled():
            return _ended(
                state,
                event.response_id,
                status="cancelled",
                output=read_items(event.items, event.tokens),
                ended_at=at,
                line_end=len(state.line),
            )
        case e.ResponseDeleted():
            return change(state, responses_deleted=state.responses_deleted | {event.response_id})
        case e.BudgetCrossed():
            return change(state, crossed=event.tokens, budget=event.budget)
        case e.ConversationCompacted():
            return _compacted(state, event, sequence=sequence)
        case e.CompactionReverted():
            return _reverted(state, event.item_id)
        case e.ConversationForked():
            return _forked(state, event, at=at, sequence=sequence)
        case e.ConversationErased():
            # Whatever was known before, and to whomever it was known.
            return change(NEW, exists=True, deleted=True, erased=True)
        case _:
            assert_never(event)


def tokens_after(state: Conversation, event: e.ItemsAdded | e.TurnCompleted) -> int:
    """Size of the next window once ``event`` has been added.

    The provider's own count of a turn, where there is one: it saw the whole window. Our
    tokenizer's for what no provider has seen yet.
    """
    if isinstance(event, e.ItemsAdded):
        return state.tokens + sum(event.tokens)
    turn = state.turn_running(event.response_id)
    if turn is None or not turn.on_line:
        return state.tokens
    ours = state.tokens + sum(item.tokens for item in turn.input)
    done = event.compaction
    if done is None:
        ours, counted = ours + sum(event.tokens), counted_tokens(event.usage)
        # A provider has not seen what was left out of the window.
        seen = counted >= ours or (counted and not turn.truncates)
        return counted if seen else ours
    sizes = {items.head(raw).id: size for raw, size in zip(event.items, event.tokens, strict=True)}
    sizes.pop(done.item_id, None)
    # With no other output a summary was asked for: the provider has counted what it was made of.
    counted = counted_tokens(event.usage) if sizes else 0
    saved = done.tokens_before - done.tokens_after
    return counted or max(done.tokens_after, ours - saved) + sum(sizes.values())


def counted_tokens(usage: msgspec.Raw | None) -> int:
    """The provider's count of a whole turn, answer included; 0 if it counted nothing."""
    total = _decode_total(usage) if usage is not None else None
    return total.total_tokens if total else 0


class _Total(msgspec.Struct):
    total_tokens: int = 0


_decode_total = msgspec.json.Decoder(_Total | None).decode


def fold(state: Conversation, recorded: Iterable[tuple[e.Event, datetime, int]]) -> Conversation:
    """The state after events, each with its time and sequence."""
    for event, at, sequence in recorded:
        state = evolve(state, event, at=at, sequence=sequence)
    return state


def _requested(state: Conversation, event: e.TurnRequested, *, at: datetime) -> Turn:
    return Turn(
        id=event.response_id,
        status="in_progress",
        model=event.model,
        parameters=event.parameters,
        input=read_items(event.items, event.tokens),
        on_line=event.on_line,
        parent=event.parent,
        store=event.store,
        requested_at=at,
        line_start=len(state.line),
        deletions=len(state.removed),
    )


def _begun_again(state: Conversation, event: e.TurnStarted) -> Conversation:
    change = msgspec.structs.replace
    running = tuple(
        change(turn, attempt=event.attempt) if turn.id == event.response_id else turn
        for turn in state.running
    )
    return change(state, running=running)


def _joined(state: Conversation, added: tuple[Item, ...], tokens: int) -> Conversation:
    return msgspec.structs.replace(state, line=state.line.extended(added), tokens=tokens)


def _without(state: Conversation, item_id: str) -> Conversation:
    position, item = state.position(item_id), state.line.get(item_id)
    if position is None or item is None:
        return state
    newest = state.compactions[-1] if state.compactions else None
    summarised = newest is not None and position < newest.covered and item_id not in newest.kept
    tokens = state.tokens if summarised else max(0, state.tokens - item.tokens)
    return msgspec.structs.replace(
        state,
        removed=state.removed | {position},
        tokens=tokens,
        # What tells of a deleted item goes with it, off the line as on it.
        summarised={turn: end for turn, end in state.summarised.items() if end <= position},
    )


def _completed(
    state: Conversation, event: e.TurnCompleted, *, at: datetime, sequence: int
) -> Conversation:
    turn = state.turn_running(event.response_id)
    if turn is None:
        return state
    output = read_items(event.items, event.tokens)
    done = event.compaction
    own = done and next((item for item in output if item.id == done.item_id), None)
    if turn.on_line:
        position = len(state.line) + len(turn.input)
        state = _joined(state, (*turn.input, *output), tokens_after(state, event))
        if done and own:
            position += output.index(own)
            state = _in_force(state, own, done, position=position, sequence=sequence)
    elif done and own:
        state = _off_line(state, turn)
    return _ended(
        state,
        event.response_id,
        status=event.status,
        model=event.model,
        output=output,
        usage=event.usage,
        reason=event.reason,
        ended_at=at,
        line_end=len(state.line),
        compaction=done if own and not turn.on_line else None,
    )


def _in_force(
    state: Conversation,
    item: Item,
    done: e.ConversationCompacted | e.TurnCompaction | e.ForkedCompaction,
    *,
    position: int,
    sequence: int,
) -> Conversation:
    compaction = Compaction(
        item=item,
        position=position,
        summary=done.summary,
        covered=done.covered,
        kept=done.kept,
        sequence=sequence,
        crossed=state.crossed,
    )
    return msgspec.structs.replace(state, compactions=(*state.compactions, compaction), crossed=0)


def _off_line(state: Conversation, turn: Turn) -> Conversation:
    """``state`` once a turn off the line was summarised, unless what it read has changed since."""
    chain = window.of_chain(state.turns, turn.parent) if turn.parent is not None else ()
    beneath = chain[0].line_end if chain and chain[0].on_line else 0
    if beneath and len(state.removed) != turn.deletions:
        return state
    return msgspec.structs.replace(state, summarised={**state.summarised, turn.id: beneath})


def _ended(state: Conversation, response_id: str, **outcome: object) -> Conversation:
    turn = state.turn_running(response_id)
    if turn is None:
        return state
    return msgspec.structs.replace(
        state,
        running=tuple(other for other in state.running if other is not turn),
        turns=state.turns.extended((msgspec.structs.replace(turn, **outcome),)),
    )


def _compacted(
    state: Conversation, event: e.ConversationCompacted, *, sequence: int
) -> Conversation:
    item = item_of(event.item, event.tokens)
    saved = event.tokens_before - event.tokens_after
    tokens = max(event.tokens_after, state.tokens - saved)
    joined = _joined(state, (item,), tokens)
    return _in_force(joined, item, event, position=len(state.line), sequence=sequence)


def _reverted(state: Conversation, item_id: str) -> Conversation:
    undone = next((c for c in state.compactions if c.item.id == item_id), None)
    state = msgspec.structs.replace(
        _without(state, item_id),
        compactions=tuple(c for c in state.compactions if c.item.id != item_id),
        # It is not made again at once: what was undone is undone until the window has grown.
        crossed=max(state.crossed, undone.crossed if undone else 0),
    )
    return msgspec.structs.replace(state, tokens=sum(item.tokens for item in state.window()))


def _forked(
    state: Conversation, event: e.ConversationForked, *, at: datetime, sequence: int
) -> Conversation:
    items = read_items(event.items, event.tokens)
    state = _joined(state, items, event.window_tokens)
    for done in event.compactions:
        item, position = state.line.get(done.item_id), state.line.position(done.item_id)
        if item is not None and position is not None:
            state = msgspec.structs.replace(state, crossed=done.crossed)
            state = _in_force(state, item, done, position=position, sequence=sequence)
    return msgspec.structs.replace(
        state,
        exists=True,
        crossed=event.crossed,
        budget=event.budget,
        hidden=event.more,
        created_at=state.created_at or at,
        metadata=event.metadata,
    )
