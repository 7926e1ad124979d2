"""The queue as it is pulled from, whatever becomes of its consumer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError, ServiceUnavailableError

from services import clock

log = structlog.get_logger()

PULL_S = 1.0
"""How long a request for messages stands. Lost with the consumer's leader, it is missed as long."""
UNANSWERED_WAIT_S = 0.25
"""Time between requests nobody takes: the consumer has no leader, or is no more."""


OLD_S = 5.0
"""Seconds after which a message may have been delivered to somebody else as well: well below the
queue's ack wait."""


class PatientPull:
    """A pull subscription that asks for no more than can be worked on.

    Nor all the time while nobody answers. A consumer that was deleted is made again.
    """

    def __init__(self, declare: Callable[[], Awaitable[None]], *, places: int) -> None:
        """``declare`` makes the consumer; of its messages ``places`` are worked on at once."""
        self._declare = declare
        self._pull: JetStreamContext.PullSubscription | None = None
        self._places = asyncio.Semaphore(places)
        self._asked_at = clock.monotonic()
        self._fetched: dict[str, float] = {}
        """Since when each message may have been on its way, by its reply subject."""
        self._stopping = False
        self.answered = True
        """Whether somebody took the last request."""

    def stop(self) -> None:
        """Ask for nothing more, and give back what is on its way."""
        self._stopping = True

    def over(self, pull: JetStreamContext.PullSubscription) -> "PatientPull":
        """Ask with ``pull`` from now on."""
        self._pull = pull
        return self

    async def fetch(self, batch: int, timeout: float | None) -> list[Msg]:
        """As nats-py does, and raising what it raises, once there is a place for a message."""
        assert self._pull is not None
        assert batch == 1, "a message takes one place"
        await self._places.acquire()
        # One that the last request was too late for waits to be returned by this one.
        sent_at, self._asked_at = self._asked_at, clock.monotonic()
        try:
            (message,) = await self._asked(self._pull, timeout)
        except BaseException:
            self._places.release()
            raise
        self._fetched[message.reply] = sent_at
        return [message]

    @contextmanager
    def place(self, message: Msg) -> Iterator[bool]:
        """Work on a message; whether it may have been delivered again meanwhile.

        This process may have been stopped for a while, or the message had no place.
        """
        sent_at = self._fetched.get(message.reply)
        try:
            yield sent_at is not None and clock.monotonic() - sent_at > OLD_S
        finally:
            # The very first message may have been fetched by another.
            if self._fetched.pop(message.reply, None) is not None:
                self._places.release()

    async def _asked(
        self, pull: JetStreamContext.PullSubscription, timeout: float | None
    ) -> list[Msg]:
        if self._stopping:
            await asyncio.sleep(timeout or PULL_S)
            raise nats.errors.TimeoutError
        try:
            found = await pull.fetch(batch=1, timeout=timeout)
        except ServiceUnavailableError:
            self.answered = False
            await asyncio.sleep(UNANSWERED_WAIT_S)
            await self._restore(pull)
            raise
        except nats.errors.TimeoutError:
            self.answered = True
            raise
        self.answered = True
        if self._stopping:
            # Nobody takes it here any more: others would wait for it as for the dead.
            for message in found:
                await message.nak()
            raise nats.errors.TimeoutError
        return found

    async def unsubscribe(self) -> None:
        """Fetch no more."""
        if self._pull is not None:
            await self._pull.unsubscribe()

    async def _restore(self, pull: JetStreamContext.PullSubscription) -> None:
        try:
            await pull.consumer_info()
        except NotFoundError:
            log.warning("queue.consumer_lost")
            await self._declare()
        except (nats.errors.Error, TimeoutError):
            # It may well be there, but its leader is not.
            return
