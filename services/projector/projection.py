"""Keeps the views at the end of the log, and says how far they are."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog

from schemas.queries import Health
from services import clock
from services.projector.database import CommitUnreadable, Database, ViewsUnavailable
from services.projector.follow import Follower, LogReplaced
from services.projector.log_client import LogClient
from services.projector.prepare import Prepared, prepare
from services.projector.settings import ProjectorSettings

RETRY_S = 0.5

T = TypeVar("T")
Batches = asyncio.Queue[tuple[Prepared, int]]
"""Batches to write, each with the sequence up to which the views then know everything."""

log = structlog.get_logger()


class Projection:
    """The one writer of the database: a batch is prepared on one thread, written on another."""

    def __init__(self, client: LogClient, database: Database, settings: ProjectorSettings) -> None:
        """``database`` belongs to this projection from now on, but for its cursors."""
        self.sequence = database.sequence
        """Sequence up to which everything is in the views."""
        self._client = client
        self._database = database
        self._settings = settings
        self._follower: Follower | None = None
        self._stopped = ""
        self._moved: set[asyncio.Event] = set()
        self._asked = asyncio.Event()
        self._preparer = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")

    async def run(self) -> None:
        """Follow the log until cancelled; stops for good at a commit it cannot read."""
        try:
            while not self._stopped:
                await self._follow()
            await asyncio.Event().wait()
        finally:
            # A transaction that has begun is finished: the file is closed after it.
            self._preparer.shutdown()
            self._writer.shutdown()

    def health(self) -> Health:
        """Whether the views are at, or on their way to, the end of the log."""
        detail = self._stopped
        if not detail and not (self._follower and self._follower.following):
            detail = "the log cannot be reached"
        return Health(ok=not detail, detail=detail, sequence=self.sequence)

    async def reached(self, sequence: int, *, wait_s: float) -> bool:
        """Whether everything up to ``sequence`` is in the views, now or within ``wait_s`` seconds.

        Does not wait for what will not come.
        """
        moved = asyncio.Event()
        self._moved.add(moved)
        self._asked.set()
        try:
            async with asyncio.timeout(wait_s):
                while self.sequence < sequence and not self._stopped:
                    moved.clear()
                    await moved.wait()
        except TimeoutError:
            return False
        finally:
            self._moved.discard(moved)
        return self.sequence >= sequence

    async def _follow(self) -> None:
        """Project what comes until this is no more the log it was, or cannot be read."""
        begun = self._database.sequence
        follower = Follower(self._client, self._settings, after=begun, name=self._database.log)
        self._follower = follower
        follower.start()
        log.info("projection.begun", sequence=begun)
        batches = Batches(maxsize=1)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._prepare(follower, batches))
                tasks.create_task(self._write(follower, batches))
        except* LogReplaced as replaced:
            log.warning("projection.discarded", reason=str(replaced.exceptions[0]), sequence=begun)
            await self._on(self._writer, self._database.reset)
            self._move(0)
        except* CommitUnreadable as stopped:
            self._stop(stopped)
            self._move(self._database.sequence)
        finally:
            await follower.stop()

    async def _prepare(self, follower: Follower, batches: Batches) -> None:
        sequence, running = self._database.sequence, self._database.running
        while True:
            messages = await follower.batch()
            passed = follower.passed
            work = functools.partial(prepare, messages, after=sequence, running=running)
            batch = await self._on(self._preparer, work)
            sequence, running = passed, batch.running
            await batches.put((batch, passed))
            if follower.caught_up:
                await self._pause()

    async def _pause(self) -> None:
        """Let commits gather, until somebody asks for what is not in the views yet.

        A transaction costs the same for one commit as for a hundred: without a pause a single
        talking client keeps half a core busy.
        """
        self._asked.clear()
        if self._moved:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.batch_interval_s):
                await self._asked.wait()

    async def _write(self, follower: Follower, batches: Batches) -> None:
        while True:
            batch, passed = await batches.get()
            begun = clock.monotonic()
            while not await self._written(batch, log_name=follower.name):  # noqa: ASYNC110
                await asyncio.sleep(RETRY_S)
            self._move(passed)
            log.debug(
                "batch.projected",
                commits=len(batch.messages),
                sequence=passed,
                duration_ms=round((clock.monotonic() - begun) * 1000, 1),
            )

    async def _written(self, batch: Prepared, *, log_name: str) -> bool:
        work = functools.partial(self._database.write, batch, log=log_name)
        try:
            await self._on(self._writer, work)
        except ViewsUnavailable:
            log.warning("projection.delayed", sequence=batch.sequence)
            return False
        return True

    def _stop(self, stopped: ExceptionGroup[CommitUnreadable]) -> None:
        unreadable = stopped.exceptions[0]
        assert isinstance(unreadable, CommitUnreadable)
        # Neither the text nor the traceback: both may quote what could not be read.
        error = type(unreadable.error).__name__
        log.error("projection.stopped", sequence=unreadable.sequence, error=error)
        self._stopped = f"stopped before commit {unreadable.sequence}: {error}"

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    def _move(self, sequence: int) -> None:
        self.sequence = sequence
        for moved in self._moved:
            moved.set()
