"""Who works on which turn: responders ask each other before one takes over from another.

A request may come to two of them, by two deliveries, or since one found it on the queue by itself.
The log lets only one begin; the other must know whether that one lives.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from schemas import subjects

Key = tuple[str, str]
"""Project and response id."""
ANSWER_WAIT_S = 1.0
"""Seconds in which a responder says that it works on a turn, or ends it."""


class Colleagues(Protocol):
    """Other responders."""

    async def work_on(self, key: Key) -> bool:
        """Whether one of them says that it works on a turn."""

    async def wait_for(self, key: Key) -> bool:
        """Have whoever runs a turn look who waits when it has ended; false if none says so."""

    async def interrupt(self, key: Key, *, by: str) -> bool:
        """Have any responder end a turn for the turn ``by``; false if none says that it does."""


class AtWork:
    """Turns that are worked on in this process, each as often as it came."""

    def __init__(self) -> None:
        self._turns: Counter[Key] = Counter()
        self._waited_for: set[Key] = set()

    @contextmanager
    def on(self, key: Key) -> Iterator[None]:
        """Work on a turn."""
        self._turns[key] += 1
        try:
            yield
        finally:
            self._less(key)

    @contextmanager
    def aside(self, key: Key) -> Iterator[None]:
        """While working on a turn: not to count as such, since it may have to be left."""
        self._less(key)
        try:
            yield
        finally:
            self._turns[key] += 1

    def times(self, key: Key) -> int:
        """How often a turn is worked on here."""
        return self._turns[key]

    def wait_for(self, key: Key) -> bool:
        """Note that another waits for the end of a turn; false if it is not worked on here."""
        if not self._turns[key]:
            return False
        self._waited_for.add(key)
        return True

    def was_waited_for(self, key: Key) -> bool:
        """Whether that was noted of a turn; forgets it."""
        waited_for = key in self._waited_for
        self._waited_for.discard(key)
        return waited_for

    def all(self) -> tuple[Key, ...]:
        """All of them."""
        return tuple(self._turns)

    def _less(self, key: Key) -> None:
        self._turns[key] -= 1
        if not self._turns[key]:
            del self._turns[key]


class Responders:
    """All responders on one log, as `Colleagues` of one of them."""

    def __init__(self, client: Client, at_work: AtWork, *, name: str) -> None:
        """``name`` tells this one's own questions from those of others."""
        self._client = client
        self._at_work = at_work
        self._name = name.encode()
        self._asked_to_go_on: Subscription | None = None

    async def listen(self, go_on: Callable[[str, str], Awaitable[None]]) -> None:
        """Answer the questions of others from now on.

        ``go_on`` takes the project and the conversation somebody has left; it may not take long.
        """

        async def asked(message: Msg) -> None:
            await go_on(*subjects.left_parts(message.subject))

        await self._client.subscribe(subjects.ALL_RUNNING, cb=self._say)
        await self._client.subscribe(subjects.ALL_WAITED_FOR, cb=self._note)
        self._asked_to_go_on = await self._client.subscribe(
            subjects.ALL_LEFT, queue=subjects.RESPONDER, cb=asked
        )

    async def leave(self) -> None:
        """Be asked to go on with nothing any more."""
        asked, self._asked_to_go_on = self._asked_to_go_on, None
        if asked is not None:
            await asked.unsubscribe()

    async def go_on(self, project: str, conversation_id: str) -> None:
        """Have another one look at once who waits for a conversation; lost where there is none."""
        await self._client.publish(subjects.left(project, conversation_id))

    async def work_on(self, key: Key) -> bool:
        """As the protocol says."""
        return await self._said(subjects.running(*key), self._name)

    async def wait_for(self, key: Key) -> bool:
        """As the protocol says."""
        return await self._said(subjects.waited_for(*key), b"")

    async def interrupt(self, key: Key, *, by: str) -> bool:
        """As the protocol says."""
        return await self._said(subjects.cancel(*key), by.encode())

    async def _said(self, subject: str, question: bytes) -> bool:
        try:
            await self._client.request(subject, question, timeout=ANSWER_WAIT_S)
        except nats.errors.Error:
            return False
        return True

    async def _say(self, message: Msg) -> None:
        key = subjects.running_parts(message.subject)
        if message.data != self._name and self._at_work.times(key):
            await message.respond(b"")

    async def _note(self, message: Msg) -> None:
        if self._at_work.wait_for(subjects.waited_for_parts(message.subject)):
            await message.respond(b"")
