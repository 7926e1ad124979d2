"""Threads for statements: so many at once, each ended when its time is over."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import duckdb
import structlog

from services import clock

INTERRUPT_S = 0.05
"""How often an overdue statement is told to end: the first time it may not have begun."""

T = TypeVar("T")

log = structlog.get_logger()


class AllTaken(Exception):
    """Others ran for as long as was waited for."""


class Threads:
    """Neither the loop nor the writer waits for what runs on them."""

    def __init__(self, parallel_max: int, *, name: str, unending_s: float) -> None:
        """``parallel_max`` run at once; see `run` for ``unending_s``."""
        self._unending_s = unending_s
        self._threads = ThreadPoolExecutor(parallel_max, thread_name_prefix=name)
        self._free = asyncio.Semaphore(parallel_max)

    @asynccontextmanager
    async def one(self, *, wait_s: float) -> AsyncIterator[None]:
        """A thread for as long as it is needed; raises `AllTaken`."""
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                await self._free.acquire()
        except TimeoutError as error:
            raise AllTaken from error
        try:
            yield
        finally:
            self._free.release()

    async def run(
        self, connection: duckdb.DuckDBPyConnection, work: Callable[[], T], *, until: float
    ) -> T:
        """What ``work`` returns, which uses ``connection``.

        It raises `duckdb.InterruptException` if it is not done at ``until``, by the monotonic
        clock. Cancelled or not: the thread is free again afterwards. Some functions do not hear
        that they are to end: if one goes on for ``unending_s`` seconds the process ends.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            await asyncio.wait({running}, timeout=max(0.0, until - clock.monotonic()))
        finally:
            unending = clock.monotonic() + self._unending_s
            while not running.done():
                if clock.monotonic() > unending:
                    log.critical("statement.unending", asked_to_end_s=self._unending_s)
                    # Whoever watches over this process starts it again, and the views are on disk.
                    os._exit(os.EX_SOFTWARE)
                with suppress(duckdb.ConnectionException):  # it ended meanwhile
                    connection.interrupt()
                await asyncio.wait({running}, timeout=INTERRUPT_S)
        return running.result()

    def close(self) -> None:
        """Once nothing runs any more."""
        self._threads.shutdown()
