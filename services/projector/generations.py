"""The views that answer, and those that are built to take their place while they go on answering.

A file of other versions answers as it stands until one of ours has come to the end of the log.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import duckdb
import structlog

from schemas.queries import Rebuild, Rebuilding
from services import clock
from services.journal import vault as vaults
from services.projector import file, file_keys
from services.projector.database import Database, Frozen, ViewsDiffer, ViewsUnusable
from services.projector.files import CURRENT, PREVIOUS, Files, refuse_if_in_use, remove
from services.projector.generation import Generation
from services.projector.parking import Parking
from services.projector.replacement import Replacement, ReplacementFailed
from services.projector.settings import ProjectorSettings

Tell = Callable[[Rebuilding], Awaitable[None]]

log = structlog.get_logger()


class Generations:
    """One that answers at any time, from `open` to `close`."""

    def __init__(self, settings: ProjectorSettings) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._keys = file_keys.given(settings)
        self._files: Files
        self.current: Generation
        """The one that answers."""
        self.next: Generation | None = None
        """The one that is built, if there is one."""
        self._building = False
        self._over: asyncio.Future[None]
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def sequence(self) -> int:
        """Sequence up to which everything is in the views that answer."""
        return self.current.sequence

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the views that answer, for one thread; close it after use."""
        return self.current.views.cursor()

    async def reached(self, sequence: int, *, wait_s: float) -> bool:
        """Whether everything up to ``sequence`` is in the views, now or within ``wait_s`` seconds.

        Does not wait for what will not come.
        """
        until = clock.monotonic() + wait_s
        while True:
            asked = self.current
            if await asked.reached(sequence, wait_s=max(0.0, until - clock.monotonic())):
                return True
            if self.current is asked:
                return False

    def hindrance(self) -> str:
        """Why the views may not come to the end of the log soon; empty if they will."""
        follows = self.current if self.current.projection else self.next
        following = follows.projection if follows else None
        if following is None or not following.following:
            return "the log cannot be reached"
        if self.next is not None and self.current.projection is None:
            return (
                "they were made by another release, and are built again: "
                f"{self.next.sequence} of {following.log_end} commits"
            )
        return ""

    async def open(self) -> None:
        """Open what there is, or make it: one that answers, and its successor if it is not ours."""
        self._over = asyncio.get_running_loop().create_future()
        current, successor = await asyncio.to_thread(self._opened)
        self.current = Generation(current, self._settings, parking=True)
        self._heed(self.current)
        if successor is not None:
            self.next = Generation(successor, self._settings, parking=True)

    async def run(self) -> None:
        """Keep the views at the end of the log until cancelled."""
        if self.current.projection is not None:
            await self.current.start()
            self._watch(self.current)
        if self.next is not None:
            await self.next.start()
            self._watch(self.next)
            await self._replace(self.next, Rebuild(differing=True), _unheard)
        elif await self._readable_now():
            log.info("rebuild.begun", reason="parked commits can be read now")
            await self.rebuild(Rebuild(differing=True), _unheard)
        await self._over

    async def close(self) -> None:
        """Let go of everything."""
        for generation in filter(None, (self.next, self.current)):
            generation.retire()
            await generation.close()
        await asyncio.gather(*self._closing)

    async def rebuild(self, asked: Rebuild, tell: Tell) -> Rebuilding:
        """Replace the views that answer as was asked for; what it came to."""
        if self._building or self.next is not None:
            return Rebuilding(done=True, error="the views are being built already")
        self._building = True
        try:
            return await self._rebuild(asked, tell)
        except (ViewsDiffer, ViewsUnusable) as error:
            return Rebuilding(done=True, error=str(error))
        finally:
            self._building = False

    async def _rebuild(self, asked: Rebuild, tell: Tell) -> Rebuilding:
        if asked.rollback:
            await asyncio.gather(*self._closing)
        views = await asyncio.to_thread(self._previous if asked.rollback else self._made)
        # What answers goes on whatever comes; what is built must have everything.
        self.next = Generation(views, self._settings, parking=asked.rollback)
        try:
            await self.next.start()
            return await self._replace(self.next, asked, tell)
        finally:
            await self._give_up(asked)

    async def _replace(self, successor: Generation, asked: Rebuild, tell: Tell) -> Rebuilding:
        replacement = Replacement(self.current, successor, tell)
        try:
            came_to = await replacement.prepare(asked)
        except ReplacementFailed as failed:
            log.warning("rebuild.failed", reason=str(failed))
            return replacement.said(done=True, error=str(failed))
        if came_to.done:
            log.warning("rebuild.differs", tables=came_to.differ, sequence=came_to.compared)
            return came_to
        begun = clock.monotonic()
        self._switch(successor)
        switch_ms = round((clock.monotonic() - begun) * 1000, 3)
        log.info("rebuild.switched", sequence=self.sequence, duration_ms=switch_ms)
        return replacement.said(done=True, switched=True, switch_ms=switch_ms)

    def _switch(self, successor: Generation) -> None:
        """From one moment to the next: nothing is waited for."""
        former = self.current
        self._files.switch(successor.views.path)
        self.current, self.next = successor, None
        former.retire()
        self._watch(successor)
        if former.views.key != self._keys[0] or successor.erased_since(former.sequence):
            # Nothing is kept under a key that was given up, or none, nor what was erased since.
            self._files.forget_previous()
        self._heed(successor)
        closing = asyncio.create_task(_close(former, self._files.unfinished()))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _give_up(self, asked: Rebuild) -> None:
        abandoned, self.next = self.next, None
        if abandoned is None:
            return
        if self.current.projection is not None:
            self.current.projection.end_at(None)
        abandoned.retire()
        await abandoned.close()
        if not asked.rollback:
            remove(abandoned.views.path)

    async def _readable_now(self) -> bool:
        """Whether the views lack commits, and need not any more."""
        views = self.current.views
        if not isinstance(views, Database) or not views.parked:
            return False
        vault = await vaults.opened(self.current.client, self._settings)
        return await Parking(self.current.client, vault).readable(views.parked)

    def _watch(self, generation: Generation) -> None:
        """Fail when it does."""
        assert generation.task is not None
        generation.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)

    def _opened(self) -> tuple[Database | Frozen, Database | None]:
        """What answers, and what will instead where that is not of our versions."""
        self._files = Files(Path(self._settings.data_dir))
        self._forget_unencrypted()
        path = self._files.named(CURRENT)
        if path is None:
            return self._begun(), None
        refuse_if_in_use(path)
        try:
            database = Database(path, self._settings, self._keys[0])
        except (ViewsDiffer, ViewsUnusable) as differs:
            log.warning("views.differ", detail=str(differs))
        else:
            self._clear()
            return database, None
        try:
            frozen = Frozen(path, self._settings, self._keys)
        except ViewsUnusable as unusable:
            log.warning("views.discarded", detail=str(unusable))
            remove(path)
            return self._begun(), None
        return frozen, self._continued() or self._made()

    def _begun(self) -> Database:
        self._clear()
        database = self._made()
        self._files.point(CURRENT, database.path)
        return database

    def _made(self) -> Database:
        return Database(self._files.fresh(), self._settings, self._keys[0])

    def _continued(self) -> Database | None:
        """Views of ours that can be brought to the end of the log: unfinished, or from before."""
        former = self._files.named(PREVIOUS)
        for path in (*self._files.unfinished(), *((former,) if former else ())):
            try:
                return Database(path, self._settings, self._keys[0])
            except (ViewsDiffer, ViewsUnusable) as differs:
                log.info("views.passed_over", path=path.name, detail=str(differs))
        self._clear()
        return None

    def _previous(self) -> Database:
        """The views before these; raises `ViewsDiffer` or `ViewsUnusable`."""
        path = self._files.named(PREVIOUS)
        if path is None or path == self._files.named(CURRENT):
            raise ViewsUnusable("no earlier views are kept")
        return Database(path, self._settings, self._keys[0])

    def _heed(self, generation: Generation) -> None:
        """Let nothing that it takes away for good be in the views from before it."""
        if generation.projection is not None:
            generation.projection.on_erased = self._forget_previous

    def _forget_previous(self) -> None:
        path = self._files.named(PREVIOUS)
        if path is None or path == self._files.named(CURRENT):
            return
        self._files.forget_previous()
        if self.next is None or self.next.views.path != path:
            remove(path)

    def _forget_unencrypted(self) -> None:
        """Delete the views before these if they are not under the key of today."""
        path = self._files.named(PREVIOUS)
        if path is None or path == self._files.named(CURRENT) or len(self._keys) == 1:
            return
        try:
            file.connect(path, self._settings, self._keys[0]).close()
        except duckdb.Error:
            self._files.forget_previous()
            remove(path)

    def _clear(self) -> None:
        for path in self._files.unfinished():
            remove(path)


async def _close(former: Generation, older: list[Path]) -> None:
    await former.close()
    for path in older:
        await asyncio.to_thread(remove, path)


async def _unheard(_told: Rebuilding) -> None:
    """Nobody has asked."""
