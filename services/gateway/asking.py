"""From a body that asks for a response to the turn request on the queue, the same at every door."""

from datetime import timedelta

import msgspec
from starlette.requests import HTTPConnection

from schemas import ids as id_forms
from schemas import turn_requests
from schemas.http.beside import OVERLAP_HEADER
from schemas.http.checks import one_of
from schemas.http.create_response import CreateResponse
from services import clock, ids
from services.conversation.refusals import ConversationUnknown, PreviousResponseUnknown


def overlap_of(connection: HTTPConnection) -> str:
    """What the caller wants when the conversation is busy."""
    return one_of(
        connection.headers.get(OVERLAP_HEADER, turn_requests.REJECT),
        turn_requests.OVERLAPS,
        OVERLAP_HEADER,
    )


def is_stored(create: CreateResponse) -> bool:
    """Whether anything of the turn is to be kept."""
    return create.store or create.conversation is not None


def turn_request(
    payload: bytes, create: CreateResponse, *, overlap: str, answer_wait_s: float
) -> turn_requests.TurnRequest:
    """The request for the turn that ``payload``, read as ``create``, asks for.

    ``answer_wait_s`` is how long its client is kept waiting: a turn that has not begun by then is
    not to be run for nobody, unless it was to be run in the background.
    """
    conversation_id = create.conversation
    if conversation_id is None and create.previous_response_id is not None:
        conversation_id = id_forms.conversation_of(create.previous_response_id)
        if conversation_id is None:
            raise PreviousResponseUnknown(create.previous_response_id)
    stored = is_stored(create)
    fresh = ids.conversation_id()
    conversation_id = conversation_id or fresh
    # The id of a turn that is not kept leads nowhere.
    response_id = ids.response_id(conversation_id if stored else fresh)
    if stored and id_forms.conversation_of(response_id) != conversation_id:
        # No id of this shape was ever minted here.
        raise ConversationUnknown(conversation_id)
    asked_at = clock.now()
    return turn_requests.TurnRequest(
        response_id=response_id,
        conversation_id=conversation_id,
        body=msgspec.Raw(payload),
        overlap=overlap,
        asked_at=asked_at,
        expires_at=None if create.background else asked_at + timedelta(seconds=answer_wait_s),
    )
