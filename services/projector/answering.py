"""Questions on a subject, each answered by a task of its own."""

import asyncio
import traceback
from abc import ABC, abstractmethod
from pathlib import Path

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects

log = structlog.get_logger()


class Answering(ABC):
    """From `start` to `stop`: of all projectors that hear a question, one answers."""

    def __init__(self, client: Client, subject: str) -> None:
        """Nothing is heard yet."""
        self._client = client
        self._subject = subject
        self._asked: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def respond(self, message: Msg) -> None:
        """Answer one question."""

    async def start(self) -> None:
        """Answer from now on."""
        self._questions = await self._client.subscribe(
            self._subject, queue=subjects.PROJECTOR, cb=self._take
        )

    async def stop(self) -> None:
        """Give up what is being asked."""
        if self._client.is_connected:
            await self._questions.unsubscribe()
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def _take(self, message: Msg) -> None:
        # A task for each: nats-py hands out one question at a time.
        task = asyncio.create_task(self.respond(message))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)


def note_crash(event: str, error: Exception) -> None:
    """Log what somebody must look at: its name and place, no words, which may quote content."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    where = f"{Path(frame.f_code.co_filename).name}:{line}"
    log.error(event, error=type(error).__name__, where=where)
