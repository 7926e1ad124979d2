"""The only place that says no: `decide` turns a command into the events that grant it.

Asked again, it grants nothing: a command whose effect is already there yields no events, so that
a redelivered message is harmless.
"""

from collections.abc import Sequence
from typing import assert_never

from schemas import events as e
from services.conversation import commands as c
from services.conversation import window
from services.conversation.budget import Policy, with_crossing
from services.conversation.compaction import below
from services.conversation.history import Item, Turn
from services.conversation.refusals import (
    AttemptSuperseded,
    CompactionSuperseded,
    ConversationLocked,
    ConversationUnknown,
    DuplicateItem,
    ItemUnknown,
    NotCancellable,
    NothingToCompact,
    PreviousResponseUnknown,
    Refused,
    ResponseInFlight,
    ResponseUnknown,
)
from services.conversation.state import Conversation
from services.conversation.turn_compaction import stored
from services.conversation.visible import visible, visible_response


def decide(
    state: Conversation, command: c.Command, *, conversation_id: str, policy: Policy
) -> tuple[e.Event, ...]:
    """Events that grant ``command``; none if it was already granted. Raises `Refused`."""
    if state.erased:
        raise _refusal_of_erased(command, conversation_id)
    match command:
        case c.CreateConversation():
            return with_crossing(state, _create(state, command), policy)
        case c.RequestTurn():
            return _request(state, command, conversation_id)
        case c.StartAttempt() | c.CompleteTurn() | c.FailTurn():
            return with_crossing(state, _attempt(state, command), policy)
        case c.CancelTurn():
            return _cancel(state, command)
        case c.DeleteResponse():
            return _delete_response(state, command.response_id)
        case c.Compact():
            return _compact(state, command)
        case c.ForkConversation():
            # What is whole takes no further part.
            return () if state.exists and not state.hidden else (command.part,)
        case c.UpdateConversation() | c.DeleteConversation() | c.AddItems() | c.DeleteItem():
            if not visible(state):
                raise ConversationUnknown(conversation_id)
            return with_crossing(state, _edit(state, command), policy)
        case _:
            assert_never(command)


def _refusal_of_erased(command: c.Command, conversation_id: str) -> Refused:
    """Of what was erased nothing is known, and nothing comes after it."""
    match command:
        case c.RequestTurn(on_line=False, parent=str(parent)):
            return PreviousResponseUnknown(parent)
        case c.StartAttempt() | c.CompleteTurn() | c.FailTurn():
            return AttemptSuperseded(command.response_id)
        case c.CancelTurn() | c.DeleteResponse():
            return ResponseUnknown(command.response_id)
        case c.Compact():
            return CompactionSuperseded()
        case _:
            return ConversationUnknown(conversation_id)


def before_input(
    state: Conversation, *, on_line: bool, parent: str | None, end: int | None = None
) -> tuple[Item, ...]:
    """The window a turn starts from, before its own input.

    ``end`` cuts the line at an earlier length: what it was when the turn was admitted.
    """
    if on_line:
        return state.window(end)
    if parent is None:
        return ()
    chain = window.of_chain(state.turns, parent, summarised=state.summarised)
    first = chain[0] if chain else None
    root: tuple[Item, ...] = ()
    if first is not None and first.on_line:
        root = state.window(first.line_end)
        chain = chain[1:] if first.joined else chain
    elif first is not None and first.compaction is not None and first.id in state.summarised:
        root = window.of_summarised(first, first.compaction, line=state.line, turns=state.turns)
        chain = chain[1:]
    return (*root, *(item for turn in chain for item in turn.context))


def _create(state: Conversation, command: c.CreateConversation) -> tuple[e.Event, ...]:
    if state.exists:
        return ()
    _refuse_duplicates(state, command.items)
    created = e.ConversationCreated(metadata=command.metadata)
    return (created, _added(command.items)) if command.items else (created,)


def _edit(
    state: Conversation,
    command: c.UpdateConversation | c.DeleteConversation | c.AddItems | c.DeleteItem,
) -> tuple[e.Event, ...]:
    match command:
        case c.UpdateConversation():
            if command.metadata == state.metadata:
                return ()
            return (e.ConversationUpdated(metadata=command.metadata),)
        case c.DeleteConversation():
            return (e.ConversationDeleted(),)
        case c.AddItems():
            _refuse_duplicates(state, command.items)
            return (_added(command.items),) if command.items else ()
        case c.DeleteItem():
            return _delete_item(state, command.item_id)
        case _:
            assert_never(command)


def _delete_item(state: Conversation, item_id: str) -> tuple[e.Event, ...]:
    position = state.position(item_id)
    if position is None:
        raise ItemUnknown(item_id)
    # A summary tells what it covers: it goes with any item it was made of, and so do the later
    # summaries that carry it on.
    made_of_it = tuple(
        at
        for at, done in enumerate(state.compactions)
        if position == done.position or position < done.covered
    )
    reverted = tuple(
        e.CompactionReverted(item_id=done.item.id)
        for done in (state.compactions[made_of_it[0] :] if made_of_it else ())
    )
    if any(done.item.id == item_id for done in state.compactions):
        return reverted
    return (e.ItemDeleted(item_id=item_id), *reverted)


def _refuse_duplicates(state: Conversation, items: Sequence[Item]) -> None:
    on_line = state.turn_on_line
    seen = {item.id for item in on_line.input} if on_line else set()
    for item in items:
        if item.id in seen or state.item(item.id) is not None:
            raise DuplicateItem(item.id)
        seen.add(item.id)


def _added(items: Sequence[Item]) -> e.ItemsAdded:
    return e.ItemsAdded(
        items=tuple(item.raw for item in items), tokens=tuple(item.tokens for item in items)
    )


def admitted(
    state: Conversation, command: c.RequestTurn, *, conversation_id: str
) -> tuple[Item, ...]:
    """The window a turn would start from, its input left out; raises `Refused`."""
    in_way = state.turn_on_line if command.on_line and visible(state) else None
    if in_way is not None and in_way.id != command.interrupts:
        raise ConversationLocked
    before = window_of(
        state,
        command.items,
        conversation_id=conversation_id,
        on_line=command.on_line,
        parent=command.parent,
    )
    if command.summarised and not before and not command.items:
        raise NothingToCompact
    return before


def window_of(
    state: Conversation,
    items: Sequence[Item],
    *,
    conversation_id: str,
    on_line: bool,
    parent: str | None,
) -> tuple[Item, ...]:
    """The window ``items`` would be sent behind, whether or not a turn runs; raises `Refused`."""
    before = next_window(state, conversation_id=conversation_id, on_line=on_line, parent=parent)
    if on_line:
        _refuse_duplicates(state, items)
    window.check(before, items)
    return before


def next_window(
    state: Conversation, *, conversation_id: str, on_line: bool, parent: str | None
) -> tuple[Item, ...]:
    """The window the next turn would start from, whatever its input is; raises `Refused`."""
    if on_line:
        if not visible(state):
            raise ConversationUnknown(conversation_id)
    elif parent is not None and visible_response(state, parent) is None:
        running = state.turn_running(parent) is not None
        raise PreviousResponseUnknown(parent, running=running)
    return before_input(state, on_line=on_line, parent=parent)


def model_of(state: Conversation, command: c.RequestTurn) -> str:
    """The model an admitted turn is for."""
    if command.model is not None:
        return command.model
    parent = state.turns.get(command.parent or "")
    assert parent is not None
    return parent.model


def _request(
    state: Conversation, command: c.RequestTurn, conversation_id: str
) -> tuple[e.Event, ...]:
    if state.turn(command.response_id) is not None:
        return ()
    if command.ends is None:
        admitted(state, command, conversation_id=conversation_id)
    elif not visible(state):
        raise ConversationUnknown(conversation_id)
    requested = e.TurnRequested(
        response_id=command.response_id,
        model=model_of(state, command),
        items=tuple(item.raw for item in command.items),
        tokens=tuple(item.tokens for item in command.items),
        parameters=command.parameters,
        on_line=command.on_line,
        parent=command.parent,
        store=command.store,
    )
    if not state.exists:
        return (e.ConversationCreated(hidden=True), requested)
    if command.ends is not None:
        return (requested, _end_of(command.ends))
    in_way = state.turn_on_line if command.on_line else None
    if in_way is None:
        return (requested,)
    return (
        e.TurnCancelled(response_id=in_way.id, interrupted_by=command.response_id),
        requested,
    )


def _attempt(
    state: Conversation, command: c.StartAttempt | c.CompleteTurn | c.FailTurn
) -> tuple[e.Event, ...]:
    turn = state.turn_running(command.response_id)
    match command:
        case c.StartAttempt():
            if turn is None or command.attempt <= turn.attempt:
                raise AttemptSuperseded(command.response_id)
            return (
                e.TurnStarted(
                    response_id=turn.id, attempt=command.attempt, responder=command.responder
                ),
            )
        case c.CompleteTurn():
            if turn is None or command.attempt != turn.attempt:
                raise AttemptSuperseded(command.response_id)
            return _complete(state, turn, command)
        case c.FailTurn():
            if turn is None or command.attempt != turn.attempt:
                raise AttemptSuperseded(command.response_id)
            return (_end_of(command),)
        case _:
            assert_never(command)


def _complete(state: Conversation, turn: Turn, command: c.CompleteTurn) -> tuple[e.Event, ...]:
    done = stored(command.summary, turn, state) if command.summary else None
    completed = e.TurnCompleted(
        response_id=turn.id,
        status=command.status,
        items=tuple(item.raw for item in command.items),
        tokens=tuple(item.tokens for item in command.items),
        usage=command.usage,
        model=command.model,
        reason=command.reason,
        compaction=done,
    )
    if done and turn.on_line and len(state.removed) != turn.deletions:
        # An item left the line while the turn ran, and the summary may tell of it.
        return completed, e.CompactionReverted(item_id=done.item_id)
    return (completed,)


def cancellable(state: Conversation, response_id: str) -> bool:
    """Whether a cancel would end a turn; false if it was cancelled before, else `Refused`."""
    turn = state.turn_running(response_id) or visible_response(state, response_id)
    if turn is None or not turn.store:
        raise ResponseUnknown(response_id)
    if not turn.background:
        raise NotCancellable("a synchronous")
    if turn.ended_at is None:
        return True
    if turn.status != "cancelled":
        raise NotCancellable(f"{'an' if turn.status == 'incomplete' else 'a'} {turn.status}")
    return False


def _cancel(state: Conversation, command: c.CancelTurn) -> tuple[e.Event, ...]:
    if command.interrupted_by is None:
        if not cancellable(state, command.response_id):
            return ()
    elif state.turn_running(command.response_id) is None:
        raise AttemptSuperseded(command.response_id)
    return (_end_of(command),)


def _end_of(command: c.CancelTurn | c.FailTurn) -> e.TurnCancelled | e.TurnFailed:
    items = tuple(item.raw for item in command.items)
    tokens = tuple(item.tokens for item in command.items)
    if isinstance(command, c.CancelTurn):
        return e.TurnCancelled(
            response_id=command.response_id,
            items=items,
            tokens=tokens,
            interrupted_by=command.interrupted_by,
        )
    return e.TurnFailed(
        response_id=command.response_id,
        code=command.code,
        message=command.message,
        items=items,
        tokens=tokens,
    )


def _delete_response(state: Conversation, response_id: str) -> tuple[e.Event, ...]:
    if state.turn_running(response_id) is not None:
        raise ResponseInFlight
    if visible_response(state, response_id) is None:
        raise ResponseUnknown(response_id)
    return (e.ResponseDeleted(response_id=response_id),)


def _compact(state: Conversation, command: c.Compact) -> tuple[e.Event, ...]:
    if any(done.item.id == command.item.id for done in state.compactions):
        return ()
    newest = state.compactions[-1].item.id if state.compactions else None
    if not visible(state) or newest != command.after:
        raise CompactionSuperseded
    if below(state.removed, command.covered) != below(command.removed, command.covered):
        raise CompactionSuperseded
    return (
        e.ConversationCompacted(
            item=command.item.raw,
            tokens=command.item.tokens,
            summary=command.summary,
            covered=command.covered,
            kept=command.kept,
            method=command.method,
            tokens_before=command.tokens_before,
            tokens_after=command.tokens_after,
            fallback=command.fallback,
            covered_from=command.covered_from,
            anchors_found=command.anchors_found,
            anchors_kept=command.anchors_kept,
        ),
    )
