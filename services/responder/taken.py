"""A request that is worked on, and how it came: delivered by the queue, or found on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import nats.errors
import structlog
from faststream.nats import NatsMessage

from services.encryption import is_sealed_message
from services.journal import JournalUnavailable
from services.journal.turn_requests import TurnRequests, Waiting

log = structlog.get_logger()


class Taken(Protocol):
    """A request on the queue that is worked on."""

    place: int
    """Its stream sequence."""
    sealed: bool
    """Whether it was encrypted, so that what is said of it is to be as well."""
    first: bool
    """Whether it was never delivered before, as far as the queue knows."""

    async def done(self) -> None:
        """Take it off the queue."""

    async def again(self, *, wait_s: float) -> None:
        """Have it delivered again."""


@contextmanager
def _heard_or_not() -> Iterator[None]:
    """A queue that does not hear us delivers the request again, which then finds what was done."""
    try:
        yield
    except (nats.errors.Error, JournalUnavailable) as error:
        log.warning("queue.not_told", error=str(error) or type(error).__name__)


class Delivered:
    """A request that was delivered; it stays ours for as long as signs of life are given."""

    def __init__(self, message: NatsMessage, *, old: bool = False) -> None:
        """``message`` is not acked yet; ``old``: it may have been delivered again since."""
        metadata = message.raw_message.metadata
        self._message = message
        self.place = metadata.sequence.stream
        self.first = (metadata.num_delivered or 1) == 1
        self.old = old
        self.sealed = is_sealed_message(message.body)

    async def done(self) -> None:
        """As the protocol says."""
        with _heard_or_not():
            await self._message.ack()

    async def again(self, *, wait_s: float) -> None:
        """As the protocol says."""
        with _heard_or_not():
            await self._message.nack(delay=wait_s)

    async def show_life(self) -> None:
        """It is still worked on."""
        await self._message.in_progress()


class Found:
    """A request that was found waiting; a delivery of its own comes sooner or later anyway."""

    first = False

    def __init__(self, queue: TurnRequests, waiting: Waiting) -> None:
        """``waiting`` is what was found."""
        self._queue = queue
        self.place, self.sealed = waiting.place, waiting.sealed

    async def done(self) -> None:
        """As the protocol says."""
        with _heard_or_not():
            await self._queue.remove(self.place)

    async def again(self, *, wait_s: float) -> None:
        """As the protocol says."""
