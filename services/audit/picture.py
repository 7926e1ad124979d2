"""Conversations as they were, and what changed in between, in the shapes that are told."""

from collections.abc import Iterable, Mapping

import msgspec

from schemas.http.history import (
    Changed,
    CompactionThen,
    ConversationDiff,
    ConversationThen,
    Difference,
    ItemThen,
    TurnThen,
    WindowThen,
)
from services.audit.history import Moment
from services.conversation.history import Turn
from services.conversation.state import NEW, Conversation

_encode = msgspec.json.Encoder().encode

Values = Mapping[str, msgspec.Raw]


def then(conversation_id: str, moment: Moment) -> ConversationThen:
    """All there was of a conversation."""
    state = moment.state
    sent = {state.line.position(item.id) for item in state.window()}
    return ConversationThen(
        id=conversation_id,
        sequence=moment.sequence,
        at=moment.at,
        digest=moment.digest,
        created_at=state.created_at,
        hidden=state.hidden,
        deleted=state.deleted,
        metadata=state.metadata,
        items=tuple(
            ItemThen(
                position=position, tokens=item.tokens, in_window=position in sent, item=item.raw
            )
            for position, item in enumerate(state.line.between(0, len(state.line)))
            if position not in state.removed
        ),
        turns=tuple(_turns(state)),
        compactions=tuple(_compactions(state)),
        window=window(state),
    )


def difference(
    conversation_id: str, before: Moment | None, after: Moment | None
) -> ConversationDiff:
    """What ``after`` has that ``before`` has not, the reverse, and what is another; pure."""
    old, new = (moment.state if moment else NEW for moment in (before, after))
    return ConversationDiff(
        id=conversation_id,
        from_sequence=before.sequence if before else 0,
        to_sequence=after.sequence if after else 0,
        deleted=new.deleted and not old.deleted,
        metadata=_between(_texts(old.metadata), _texts(new.metadata)),
        items=_between(_items(old), _items(new)),
        turns=_between(*({t.response_id: _raw(t) for t in _turns(state)} for state in (old, new))),
        compactions=_between(
            *({c.item_id: _raw(c) for c in _compactions(state)} for state in (old, new))
        ),
        window_before=window(old),
        window_after=window(new),
    )


def window(state: Conversation) -> WindowThen:
    """The size of the window."""
    return WindowThen(items=len(state.window()), tokens=state.tokens)


def _turns(state: Conversation) -> Iterable[TurnThen]:
    for turn in (*state.turns.between(0, len(state.turns)), *state.running):
        yield _turn(turn, deleted=turn.id in state.responses_deleted)


def _turn(turn: Turn, *, deleted: bool) -> TurnThen:
    return TurnThen(
        response_id=turn.id,
        status=turn.status,
        model=turn.model,
        on_line=turn.on_line,
        parent=turn.parent,
        attempt=turn.attempt,
        requested_at=turn.requested_at,
        ended_at=turn.ended_at,
        input=len(turn.input),
        output=len(turn.output),
        error_code=turn.error_code,
        deleted=deleted,
    )


def _compactions(state: Conversation) -> Iterable[CompactionThen]:
    for done in state.compactions:
        yield CompactionThen(
            item_id=done.item.id, covered=done.covered, kept=done.kept, summary=done.summary
        )


def _items(state: Conversation) -> Values:
    return {item.id: item.raw for item in state.listed(0, descending=False)}


def _texts(metadata: Mapping[str, str]) -> Values:
    return {key: _raw(value) for key, value in metadata.items()}


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _between(before: Values, after: Values) -> Difference:
    return Difference(
        added={key: value for key, value in after.items() if key not in before},
        removed={key: value for key, value in before.items() if key not in after},
        changed={
            key: Changed(before=before[key], after=value)
            for key, value in after.items()
            if key in before and bytes(before[key]) != bytes(value)
        },
    )
