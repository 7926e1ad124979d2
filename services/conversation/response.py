"""The Response object of a turn, as clients read it (contract 1.5)."""

from datetime import datetime

import msgspec

from schemas.http import checks
from schemas.http.responses import (
    ConversationReference,
    IncompleteDetails,
    Response,
    ResponseError,
    echo,
    tier_served,
)
from services.conversation.history import Turn

_encode = msgspec.json.Encoder().encode
_parameters = msgspec.json.Decoder(checks.Fields).decode


def render(turn: Turn, *, conversation_id: str) -> bytes:
    """``turn`` as the contract's Response, in the state it is in.

    While it runs there is no output, no usage, and the service tier is ``auto``.
    """
    ended = turn.ended_at is not None
    parameters = _parameters(turn.parameters)
    completed = turn.status == "completed"
    response = Response(
        id=turn.id,
        created_at=_seconds(turn.requested_at),
        status=turn.status,
        background=checks.plain(parameters.get("background", checks.NULL)) is True,
        completed_at=_seconds(turn.ended_at) if turn.ended_at and completed else None,
        conversation=ConversationReference(conversation_id) if turn.on_line else None,
        error=ResponseError(turn.error_code, turn.error_message or "") if turn.error_code else None,
        incomplete_details=IncompleteDetails(turn.reason) if turn.reason else None,
        model=turn.model,
        output=tuple(item.raw for item in turn.output),
        previous_response_id=turn.parent,
        service_tier=tier_served(parameters) if ended else "auto",
        store=turn.store,
        usage=turn.usage or checks.NULL,
    )
    return _encode(msgspec.structs.replace(response, **echo(parameters)))


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
