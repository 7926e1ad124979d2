"""Turns in the background that wait on the queue: accepted, and not yet in the log."""

import msgspec

from schemas.http.create_response import CreateResponse, read_create
from schemas.turn_requests import TurnRequest, promised
from services import clock
from services.conversation.history import Turn
from services.journal.turn_requests import TurnRequests

_encode = msgspec.json.Encoder().encode


class WaitingTurns:
    """Looked up on the queue itself; every method raises `JournalUnavailable`."""

    def __init__(self, queue: TurnRequests) -> None:
        """``queue`` is asked each time."""
        self._queue = queue

    async def find(self, project: str, response_id: str) -> Turn | None:
        """A turn that waits, if its asker was promised that it can be looked up."""
        waiting = await self._queue.find(project, response_id)
        if waiting is None:
            return None
        request = waiting.request
        create = read_create(bytes(request.body), strict=False, generate=request.generate)
        found = promised(request, background=create.background, store=create.store)
        return turn_of(request, create) if found else None


def turn_of(request: TurnRequest, create: CreateResponse) -> Turn:
    """A turn as it is before it begins."""
    assert create.model is not None
    return Turn(
        id=request.response_id,
        status="queued",
        model=create.model,
        parameters=msgspec.Raw(_encode(create.parameters)),
        input=(),
        on_line=True,
        parent=None,
        store=True,
        requested_at=request.asked_at or clock.now(),
    )
