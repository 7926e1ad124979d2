"""The order of turns that wait for one conversation: that of their requests on the queue.

Who waits is held by nobody. The request in front tells whoever runs the turn in its way, and is
left to be delivered again, as are those behind it. Whoever was told looks who is next when that
turn has ended, goes on with it, and looks again. If it dies before, the delivery that comes anyway
finds the request in front.

Requests that do not wait have no place in it: whether a turn of theirs runs is in the log.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.turn_requests import TurnRequest, queues
from services.journal.turn_requests import TurnRequests, Waiting


class TurnOrder:
    """Who is in front, of requests that wait for a conversation."""

    def __init__(self, queue: TurnRequests) -> None:
        """``queue`` is asked each time, except for what runs here."""
        self._queue = queue
        self._running: dict[tuple[str, str], int] = {}

    async def waits(self, project: str, request: TurnRequest, place: int) -> bool:
        """Whether another request is in front; raises `JournalUnavailable`."""
        running = self._running.get((project, request.conversation_id))
        if running is not None and running < place:
            return True
        first = await self.first(project, request.conversation_id)
        return first is not None and first.place < place

    async def first(self, project: str, conversation_id: str) -> Waiting | None:
        """The request in front; raises `JournalUnavailable`."""
        async for waiting in self._queue.of(project, conversation_id):
            if queues(waiting.request):
                return waiting
        return None

    async def find(self, project: str, response_id: str) -> Waiting | None:
        """The request for a response; raises `JournalUnavailable`."""
        return await self._queue.find(project, response_id)

    @contextmanager
    def worked_on(self, project: str, request: TurnRequest, place: int) -> Iterator[None]:
        """The request at ``place`` is worked on here, and on the queue for as long."""
        key = (project, request.conversation_id)
        if not queues(request):
            yield
            return
        self._running[key] = place
        try:
            yield
        finally:
            if self._running.get(key) == place:
                del self._running[key]
