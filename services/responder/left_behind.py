"""What a turn of which nothing is stored leaves to one that follows, by the rules of the log."""

import msgspec

from schemas.http import checks
from schemas.turn_requests import Context
from services import clock
from services.conversation import commands
from services.conversation.budget import Policy
from services.conversation.decide import before_input, decide
from services.conversation.history import Item, Turn
from services.conversation.state import NEW, UNSTORED, Conversation, fold

_encode = msgspec.json.Encoder().encode


def remembered(parent: str, model: str, items: tuple[Item, ...]) -> Conversation:
    """A conversation of which nothing is known but what the response ``parent`` has left."""
    turn = Turn(
        id=parent,
        status="completed",
        model=model,
        parameters=msgspec.Raw(b"{}"),
        input=(),
        output=items,
        on_line=False,
        parent=None,
        store=True,
        requested_at=clock.now(),
    )
    return msgspec.structs.replace(NEW, exists=True, turns=NEW.turns.extended((turn,)))


def left_behind(
    state: Conversation,
    asked: commands.RequestTurn,
    ended: Turn,
    summary: commands.TurnSummary | None,
    *,
    conversation_id: str,
) -> bytes:
    """What a turn leaves that was asked for in ``state``: as if all of it had been stored."""
    for command in (asked, _end(ended, summary)):
        events = decide(state, command, conversation_id=conversation_id, policy=Policy())
        state = fold(state, ((event, clock.now(), UNSTORED) for event in events))
    left = before_input(state, on_line=False, parent=ended.id)
    return _encode(Context(model=ended.model, items=tuple(item.raw for item in left)))


def _end(
    ended: Turn, summary: commands.TurnSummary | None
) -> commands.CompleteTurn | commands.FailTurn:
    if ended.answered:
        return commands.CompleteTurn(
            response_id=ended.id,
            attempt=ended.attempt,
            status=ended.status,
            items=ended.output,
            usage=ended.usage or checks.NULL,
            model=ended.model,
            reason=ended.reason,
            summary=summary,
        )
    return commands.FailTurn(
        response_id=ended.id,
        attempt=ended.attempt,
        code=ended.error_code or "server_error",
        message=ended.error_message or "",
        items=ended.output,
    )
