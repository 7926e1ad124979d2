"""The queue as it is pulled from, whatever becomes of its consumer."""

import asyncio
from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError, ServiceUnavailableError

log = structlog.get_logger()

PULL_S = 1.0
"""How long a request for messages stands. Lost with the consumer's leader, it is missed as long."""
UNANSWERED_WAIT_S = 0.25
"""Time between requests nobody takes: the consumer has no leader, or is no more."""


class PatientPull:
    """A pull subscription that does not ask all the time while nobody answers.

    A consumer that was deleted is made again.
    """

    def __init__(
        self, pull: JetStreamContext.PullSubscription, declare: Callable[[], Awaitable[None]]
    ) -> None:
        """``declare`` makes the consumer that ``pull`` asks."""
        self._pull = pull
        self._declare = declare
        self.answered = True
        """Whether somebody took the last request."""

    async def fetch(self, batch: int, timeout: float | None) -> list[Msg]:
        """As nats-py does, and raising what it raises."""
        try:
            found = await self._pull.fetch(batch=batch, timeout=timeout)
        except ServiceUnavailableError:
            self.answered = False
            await asyncio.sleep(UNANSWERED_WAIT_S)
            await self._restore()
            raise
        except nats.errors.TimeoutError:
            self.answered = True
            raise
        self.answered = True
        return found

    async def unsubscribe(self) -> None:
        """Fetch no more."""
        await self._pull.unsubscribe()

    async def _restore(self) -> None:
        try:
            await self._pull.consumer_info()
        except NotFoundError:
            log.warning("queue.consumer_lost")
            await self._declare()
        except (nats.errors.Error, TimeoutError):
            # It may well be there, but its leader is not.
            return
