"""Brings views to where those are that answer, and says whether both hold the same."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from schemas.queries import DigestAnswer, Rebuild, Rebuilding
from services.projector.database import Database
from services.projector.generation import Generation, digested

TELL_S = 0.2
"""Seconds after which it is said again how far it is."""
NEAR = 5_000
"""Commits that are projected in a moment: with as many left, the others are held for comparison."""
CLOSE = 200
"""Commits that are projected at once: with as many left, nothing new goes to the others."""


class ReplacementFailed(Exception):
    """The new views cannot be built; those that answer go on."""


class Replacement:
    """Of one that answers, and goes on, by one that nobody asks yet."""

    def __init__(
        self,
        current: Generation,
        successor: Generation,
        tell: Callable[[Rebuilding], Awaitable[None]],
    ) -> None:
        """``tell`` is called every moment. Both are started, but for a frozen one that answers."""
        assert successor.projection is not None
        self._current = current
        self._successor = successor
        self._projection = successor.projection
        self._tell = tell
        self._compared = 0
        self._differ: tuple[str, ...] = ()

    def said(self, **fields: object) -> Rebuilding:
        """How far it is."""
        told = Rebuilding(
            sequence=self._successor.sequence,
            log_sequence=max(self._projection.log_end, self._current.sequence),
            events=self._projection.events,
            compared=self._compared,
            differ=self._differ,
        )
        return msgspec.structs.replace(told, **fields)

    async def prepare(self, asked: Rebuild) -> Rebuilding:
        """Return once the new ones may answer; ``done`` already if they differ and may not.

        Those that answer go no further then. Raises `ReplacementFailed`.
        """
        views = self._current.views
        if not isinstance(views, Database):
            await self._follow_to_the_end()
            return self.said()
        await self._approach()
        if not asked.rollback and not views.parked:
            await self._compare()
            if self._differ and not asked.differing:
                return self.said(done=True)
        self._projection.end_at(None)
        await self._follow_to(lambda: self._current.sequence - CLOSE)
        # Nothing new where questions wait, so that there is a moment when both stand at the same.
        assert self._current.projection is not None
        self._current.projection.end_at(self._current.sequence)
        await self._follow_to(lambda: self._current.sequence)
        return self.said()

    async def _approach(self) -> None:
        """Come near the views that answer, and never past them."""
        self._projection.end_at(self._current.sequence)
        while not await self._successor.reached(self._current.sequence - NEAR, wait_s=TELL_S):
            self._projection.end_at(self._current.sequence)
            await self._look()

    async def _compare(self) -> None:
        """Both at one sequence: what answers is held as it is, but only for this comparison."""
        snapshot = await self._current.snapshot()
        try:
            (sequence,) = snapshot.execute("SELECT sequence FROM projection").fetchone() or (0,)
            self._projection.end_at(sequence)
            # Less only where the log was made anew meanwhile.
            await self._follow_to(lambda: min(sequence, self._current.sequence))
            new = await self._telling(digested(await self._successor.snapshot()))
            old = await self._telling(digested(snapshot))
        finally:
            snapshot.close()
        if new.sequence != old.sequence:
            raise ReplacementFailed(f"the views stand at {new.sequence} and {old.sequence}")
        self._compared = old.sequence
        names = sorted(new.tables.keys() | old.tables.keys())
        self._differ = tuple(name for name in names if new.tables.get(name) != old.tables.get(name))

    async def _telling(self, work: Coroutine[Any, Any, DigestAnswer]) -> DigestAnswer:
        task = asyncio.create_task(work)
        try:
            while not task.done():
                await self._tell(self.said(comparing=True))
                await asyncio.wait({task}, timeout=TELL_S)
            return task.result()
        finally:
            task.cancel()

    async def _follow_to(self, end: Callable[[], int]) -> None:
        """Until the new views stand at ``end``, which may move, or behind it."""
        while not await self._successor.reached(end(), wait_s=TELL_S):
            await self._look()

    async def _follow_to_the_end(self) -> None:
        while not self._projection.caught_up:
            await self._successor.reached(self._projection.log_end + 1, wait_s=TELL_S)
            await self._look()

    async def _look(self) -> None:
        task = self._successor.task
        if task is not None and task.done() and (error := task.exception()) is not None:
            raise ReplacementFailed(type(error).__name__) from error
        if self._projection.stopped:
            raise ReplacementFailed(self._projection.stopped)
        await self._tell(self.said())
