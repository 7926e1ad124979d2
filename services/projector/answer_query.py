"""Answers ``ask.sql``: any projector that hears the question may, so one does."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import duckdb
import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects
from schemas.queries import Sql
from services import clock
from services.projector import query
from services.projector.generations import Generations
from services.projector.settings import ProjectorSettings

INTERRUPT_S = 0.05
"""How often an overdue statement is told to end: the first time it may not have begun."""
ENVELOPE_BYTES = 4096
"""Room a message needs around an answer."""

log = structlog.get_logger()


class QueryAnswerer:
    """Runs statements on threads of their own; neither the loop nor the writer waits for one."""

    def __init__(
        self,
        client: Client,
        views: Generations,
        settings: ProjectorSettings,
    ) -> None:
        """``settings`` bound what a question may take."""
        self._client = client
        self._views = views
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.sql_parallel_max, thread_name_prefix="sql")
        self._free = asyncio.Semaphore(settings.sql_parallel_max)
        self._asked: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer from now on."""
        self._questions = await self._client.subscribe(
            subjects.ask("sql"), queue=subjects.PROJECTOR, cb=self._take
        )

    async def stop(self) -> None:
        """Give up what is being asked."""
        if self._client.is_connected:
            await self._questions.unsubscribe()
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        self._threads.shutdown()

    async def _take(self, message: Msg) -> None:
        # A task for each: nats-py hands out one question at a time.
        task = asyncio.create_task(self._respond(message))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _respond(self, message: Msg) -> None:
        begun = clock.monotonic()
        try:
            answer = await self.answer(msgspec.json.decode(message.data, type=Sql))
        except msgspec.MsgspecError as error:
            answer = query.failed(f"not a question: {error}")
        except Exception:
            log.exception("query.crashed")
            answer = query.failed("the projector failed to run the statement")
        await message.respond(answer)
        duration_ms = round((clock.monotonic() - begun) * 1000, 1)
        log.info("query.answered", answer_bytes=len(answer), duration_ms=duration_ms)

    async def answer(self, question: Sql) -> bytes:
        """The encoded answer to ``question``; its error text where there is none."""
        wait_s = min(question.wait_s, self._settings.sql_wait_s_max)
        deadline = clock.monotonic() + wait_s
        if not await self._views.reached(question.sequence, wait_s=wait_s):
            why = self._views.hindrance()
            return query.failed(
                f"the views stand at {self._views.sequence} and did not reach "
                f"{question.sequence}{f': {why}' if why else f' in {wait_s:g} s'}",
                sequence=self._views.sequence,
            )
        try:
            async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
                await self._free.acquire()
        except TimeoutError:
            return query.failed(f"other statements ran for {wait_s:g} s: try again")
        try:
            return await self._run(question)
        finally:
            self._free.release()

    async def _run(self, question: Sql) -> bytes:
        connection = self._views.cursor()
        time_s = min(question.time_s_max, self._settings.sql_time_s_max)
        work = functools.partial(
            query.run,
            connection,
            question.statement,
            rows_max=min(question.rows_max, self._settings.sql_rows_max),
            bytes_max=self._client.max_payload - ENVELOPE_BYTES,
        )
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            await asyncio.wait({running}, timeout=time_s)
        finally:
            # Cancelled or not: the thread must be free again.
            while not running.done():
                with suppress(duckdb.ConnectionException):  # it ended meanwhile
                    connection.interrupt()
                await asyncio.wait({running}, timeout=INTERRUPT_S)
        answer = running.result()
        if answer is None:
            return query.failed(f"the statement ran longer than {time_s:g} s and was ended")
        return answer
