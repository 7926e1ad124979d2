"""Keeps the views at the end of the log, and says how far they are."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog

from services import clock
from services.journal import JournalUnavailable
from services.journal import vault as vaults
from services.journal.vault import Vault
from services.projector.database import (
    CommitUnreadable,
    Database,
    ParkedCommit,
    ViewsUnavailable,
)
from services.projector.facts import Message
from services.projector.follow import Follower, LogReplaced
from services.projector.log_client import LogClient
from services.projector.opening import Opener
from services.projector.prepare import Prepared, prepare
from services.projector.settings import ProjectorSettings

RETRY_S = 0.5

T = TypeVar("T")
Park = Callable[[CommitUnreadable], Awaitable[ParkedCommit]]
"""Puts a commit that cannot be projected where somebody will look."""
Batches = asyncio.Queue[tuple[Prepared, int]]
"""Batches to write, each with the sequence up to which the views then know everything."""

log = structlog.get_logger()


class Projection:
    """The one writer of the database: a batch is prepared on one thread, written on another."""

    def __init__(
        self,
        client: LogClient,
        database: Database,
        settings: ProjectorSettings,
        *,
        park: Park | None,
    ) -> None:
        """``database`` belongs to this projection from now on, but for its cursors.

        What cannot be projected is given to ``park`` and passed by; without it, it is the end.
        """
        self.sequence = database.sequence
        """Sequence up to which everything is in the views."""
        self.stopped = ""
        """Why nothing more will come, if so."""
        self.events = 0
        """How many were projected since this began."""
        self._park = park
        self._end: int | None = None
        self._client = client
        self._database = database
        self._settings = settings
        self._follower: Follower | None = None
        self._moved: set[asyncio.Event] = set()
        self._asked = asyncio.Event()
        self.vault: Vault | None = None
        """The keys of what is encrypted, once this runs."""
        self.on_erased: Callable[[], None] = _nothing
        """Called once rows were taken away for good."""
        self._opener: Opener | None = None
        self._preparer = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")

    async def run(self) -> None:
        """Follow the log until cancelled, or `retire`.

        Raises `SettingsError` if it is encrypted, and the master key was not given.
        """
        try:
            self.vault = await vaults.opened(self._client, self._settings)
            if self.vault is not None:
                self._opener = Opener(self.vault, self._preparer)
            while not self.stopped:
                await self._follow()
            await asyncio.Event().wait()
        finally:
            # A transaction that has begun is finished: the file is closed after it.
            try:
                await asyncio.to_thread(self._end_threads)
            finally:
                self._end_threads()

    @property
    def following(self) -> bool:
        """Whether what is written to the log would come."""
        return self._follower is not None and self._follower.following

    @property
    def caught_up(self) -> bool:
        """Whether the views have all that was in the log a moment ago."""
        return (
            self._follower is not None
            and self._follower.following
            and self._follower.caught_up
            and self._follower.passed == self.sequence
        )

    @property
    def log_end(self) -> int:
        """The log's last sequence, as far as it is known."""
        return max(self.sequence, self._follower.log_end if self._follower else 0)

    def end_at(self, sequence: int | None) -> None:
        """Project nothing beyond ``sequence`` until this is called again; none: all there is."""
        self._end = sequence
        if self._follower is not None:
            self._follower.end_at(sequence)

    def retire(self) -> None:
        """Have nobody wait for this any more: another one takes its place."""
        self.stopped = "replaced"
        self._move(self.sequence)

    async def reached(self, sequence: int, *, wait_s: float) -> bool:
        """Whether everything up to ``sequence`` is in the views, now or within ``wait_s`` seconds.

        Does not wait for what will not come.
        """
        moved = asyncio.Event()
        self._moved.add(moved)
        self._asked.set()
        try:
            async with asyncio.timeout(wait_s):
                while self.sequence < sequence and not self.stopped:
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
        follower.end_at(self._end)
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
            unreadable = stopped.exceptions[0]
            assert isinstance(unreadable, CommitUnreadable)
            self._move(self._database.sequence)
            await self._pass_by(unreadable, log_name=follower.name)
        finally:
            await follower.stop()

    async def _prepare(self, follower: Follower, batches: Batches) -> None:
        sequence, running = self._database.sequence, self._database.running
        while True:
            messages = await follower.batch()
            passed = follower.passed
            if self._opener is not None:
                messages = await self._opened(self._opener, messages)
            work = functools.partial(prepare, messages, after=sequence, running=running)
            batch = await self._on(self._preparer, work)
            sequence, running = passed, batch.running
            await batches.put((batch, passed))
            if follower.caught_up:
                await self._pause()

    async def _opened(self, opener: Opener, messages: list[Message]) -> list[Message]:
        while True:
            try:
                return await opener.opened(messages)
            except JournalUnavailable as error:
                log.warning("projection.delayed", error=str(error))

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
            self.events += batch.events
            if batch.erases:
                self.on_erased()
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

    async def _pass_by(self, unreadable: CommitUnreadable, *, log_name: str) -> None:
        """Park a commit and go on after it, or go on no more."""
        log.error("commit.unreadable", sequence=unreadable.sequence, error=unreadable.reason)
        if self._park is None:
            self.stopped = f"stopped before commit {unreadable.sequence}: {unreadable.reason}"
            self._move(self.sequence)
            return
        parked = await self._park(unreadable)
        work = functools.partial(self._database.pass_by, parked, log=log_name)
        await self._on(self._writer, work)
        self._move(parked.sequence)

    def _end_threads(self) -> None:
        self._preparer.shutdown()
        self._writer.shutdown()

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    def _move(self, sequence: int) -> None:
        self.sequence = sequence
        for moved in self._moved:
            moved.set()


def _nothing() -> None:
    """Nobody has anything else of them."""
