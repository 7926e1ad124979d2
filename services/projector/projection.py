"""Keeps the views at the end of the log, and says how far they are."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from schemas.queries import Health
from services import clock
from services.projector.database import CommitUnreadable, Database, ViewsUnavailable
from services.projector.facts import Message
from services.projector.follow import Follower, LogReplaced
from services.projector.log_client import LogClient
from services.projector.settings import ProjectorSettings

RETRY_S = 0.5
MANY = 500
"""Commits in a batch from which on the projector is catching up, and does not pause."""

log = structlog.get_logger()


class Projection:
    """The one writer of the database, on a thread of its own."""

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
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="views")

    async def run(self) -> None:
        """Follow the log until cancelled; stops for good at a commit it cannot read."""
        try:
            while not self._stopped:
                await self._follow()
            await asyncio.Event().wait()
        finally:
            # A transaction that has begun is finished: the file is closed after it.
            self._thread.shutdown()

    def health(self) -> Health:
        """Whether the views are at, or on their way to, the end of the log."""
        detail = self._stopped
        if not detail and not (self._follower and self._follower.following):
            detail = "the log cannot be reached"
        return Health(ok=not detail, detail=detail, sequence=self.sequence)

    async def reached(self, sequence: int, *, wait_s: float) -> bool:
        """Whether everything up to ``sequence`` is in the views, now or within ``wait_s``."""
        moved = asyncio.Event()
        self._moved.add(moved)
        self._asked.set()
        try:
            async with asyncio.timeout(wait_s):
                while self.sequence < sequence:
                    moved.clear()
                    await moved.wait()
        except TimeoutError:
            return False
        finally:
            self._moved.discard(moved)
        return True

    async def _follow(self) -> None:
        """Project what comes until this is no more the log it was, or cannot be read."""
        begun = self._database.sequence
        follower = Follower(self._client, self._settings, after=begun, name=self._database.log)
        self._follower = follower
        follower.start()
        log.info("projection.begun", sequence=begun)
        try:
            while True:
                messages = await follower.batch()
                begun_at = clock.monotonic()
                if messages:
                    await self._apply(messages, log_name=follower.name)
                self._move(follower.passed)
                if len(messages) < MANY:
                    await self._pause(begun_at + self._settings.batch_interval_s)
        except LogReplaced as replaced:
            log.warning("projection.discarded", reason=str(replaced), sequence=begun)
            await self._in_thread(self._database.reset)
            self.sequence = 0
        except CommitUnreadable as unreadable:
            self._move(self._database.sequence)
            error = type(unreadable.error).__name__
            # Neither the text nor the traceback: both may quote what could not be read.
            log.error("projection.stopped", sequence=unreadable.sequence, error=error)  # noqa: TRY400
            self._stopped = f"stopped before commit {unreadable.sequence}: {error}"
        finally:
            await follower.stop()

    async def _pause(self, until: float) -> None:
        """Let commits gather until a time, or until somebody asks for what is not there yet.

        A transaction costs the same for one commit as for a hundred: without a pause a single
        talking client keeps half a core busy.
        """
        self._asked.clear()
        wait_s = until - clock.monotonic()
        if wait_s <= 0 or self._moved:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._asked.wait()

    async def _apply(self, messages: list[Message], *, log_name: str) -> None:
        begun = clock.monotonic()
        while True:
            try:
                await self._in_thread(lambda: self._database.apply(messages, log=log_name))
                break
            except ViewsUnavailable:
                log.warning("projection.delayed", sequence=messages[0].sequence)
                await asyncio.sleep(RETRY_S)
        log.debug(
            "batch.projected",
            commits=len(messages),
            sequence=messages[-1].sequence,
            duration_ms=round((clock.monotonic() - begun) * 1000, 1),
        )

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _move(self, sequence: int) -> None:
        self.sequence = sequence
        for moved in self._moved:
            moved.set()
