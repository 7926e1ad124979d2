"""The lanes of one WebSocket connection: each in order, all of them at once (contract 6.3)."""

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from schemas.http.errors import Invalid
from schemas.http.websocket import Create

NAMED_LANES_MAX = 32
IN_FLIGHT_MAX = 16
"""Requests of a connection that are worked on at the same time; the rest wait."""
WAITING_MAX = 256
"""Requests of a connection that wait; no more are read until there is room."""

Work = Callable[[Create, asyncio.Event], Coroutine[Any, Any, None]]
"""Answers a request; sets the event as soon as that will go on without its caller."""


class _Lane:
    """Requests of one name; ``busy`` while one of them is worked on, or may be next."""

    def __init__(self) -> None:
        self.waiting: deque[Create] = deque()
        self.busy = False


class Lanes:
    """Requests on their way, bounded in number and in bytes."""

    def __init__(self, work: Work, *, waiting_bytes_max: int) -> None:
        """``work`` may not raise. ``waiting_bytes_max`` bounds frames that wait, all together."""
        self._work = work
        self._lanes: dict[str | None, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._running: dict[asyncio.Task[None], asyncio.Event] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._waiting_bytes_max = waiting_bytes_max
        self._room = asyncio.Event()
        self._stopped = False

    async def put(self, create: Create) -> None:
        """Put a request at the end of its lane; waits while too many wait already.

        Raises `Invalid` if the lane would be one too many.
        """
        lane = self._lane(create.stream_id)
        lane.waiting.append(create)
        self._waiting += 1
        self._waiting_bytes += create.size
        if not lane.busy:
            lane.busy = True
            self._ready.append(lane)
            self._start()
        while self._crowded and not self._stopped:
            self._room.clear()
            await self._room.wait()

    def stop(self) -> None:
        """Leave what waits undone."""
        self._stopped = True
        self._room.set()

    async def finish(self) -> tuple[Create, ...]:
        """Let what has begun end; what waits is left undone, and returned."""
        self.stop()
        while self._running:
            await asyncio.wait(self._running)
        return tuple(create for lane in self._lanes.values() for create in lane.waiting)

    async def close(self) -> None:
        """Leave what waits undone, and the rest as soon as it goes on without us."""
        self.stop()
        try:
            for asked in tuple(self._running.values()):
                await asked.wait()
        finally:
            tasks = tuple(self._running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _crowded(self) -> bool:
        return self._waiting > WAITING_MAX or self._waiting_bytes > self._waiting_bytes_max

    def _lane(self, stream_id: str | None) -> _Lane:
        lane = self._lanes.get(stream_id)
        if lane is not None:
            return lane
        if stream_id is not None and len(self._lanes.keys() - {None}) == NAMED_LANES_MAX:
            raise Invalid(
                f"A connection may have at most {NAMED_LANES_MAX} different values of 'stream_id'.",
                param="stream_id",
                code="websocket_stream_limit_reached",
            )
        return self._lanes.setdefault(stream_id, _Lane())

    def _start(self) -> None:
        while self._ready and len(self._running) < IN_FLIGHT_MAX and not self._stopped:
            lane = self._ready.popleft()
            create = lane.waiting.popleft()
            self._waiting -= 1
            self._waiting_bytes -= create.size
            self._room.set()
            asked = asyncio.Event()
            task = asyncio.create_task(self._work(create, asked))
            self._running[task] = asked
            task.add_done_callback(functools.partial(self._ended, lane))

    def _ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if lane.waiting:
            # Behind the others: no lane has the connection to itself.
            self._ready.append(lane)
        else:
            lane.busy = False
        self._start()
