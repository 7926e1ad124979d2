"""Content keys, kept in the log's key-value bucket so that every process seals with the same.

They are numbered from 1 without gaps and never leave it: the newest seals, all of them open.
"""

import asyncio
from contextlib import suppress
from datetime import datetime

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects
from services.journal import JournalUnavailable, bucket
from services.journal.bucket import Kept
from services.sealing import Sealer, fresh_key

LOOK_S = 30.0
"""Time between looks for a key whose making was not heard of: the connection was lost just then."""


class ContentKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of 32 bytes, its number, and when it was made."""

    number: int
    key: bytes
    at: datetime


class ContentKeys:
    """The bucket of one log, by its leader; every method raises `JournalUnavailable`."""

    def __init__(self, client: Client, *, wait_s: float = 10.0) -> None:
        """``wait_s`` bounds each read and write, with its repeats."""
        self._client = client
        self._wait_s = wait_s
        self._following: asyncio.Task[None] | None = None

    async def get(self, number: int) -> ContentKey | None:
        """The key of a number."""
        kept = await bucket.find(
            self._client, subjects.content_key_name(number), wait_s=self._wait_s
        )
        return None if kept is None else _key(number, kept)

    async def above(self, number: int) -> tuple[ContentKey, ...]:
        """Keys with a higher number, oldest first."""
        found: list[ContentKey] = []
        while (key := await self.get(number + len(found) + 1)) is not None:
            found.append(key)
        return tuple(found)

    async def make(self, number: int, fresh: bytes) -> ContentKey:
        """The key of a number: ``fresh``, unless somebody has made it. Many may ask at once."""
        name = subjects.content_key_name(number)
        return _key(number, await bucket.make(self._client, name, fresh, wait_s=self._wait_s))

    async def sealer(self) -> Sealer:
        """What seals and opens under the keys of this log, and those that will be made.

        The first is made if there is none.
        """

        async def look(known: int) -> tuple[bytes, ...]:
            return tuple(each.key for each in await self.above(known))

        keys = await look(0) or ((await self.make(1, fresh_key())).key,)
        sealer = Sealer(*keys, look=look)
        await self._listen(sealer)
        self._following = asyncio.create_task(self._follow(sealer))
        return sealer

    async def opener(self) -> Sealer:
        """What opens under the keys there are now; none is made, not even the first."""
        return Sealer(*(each.key for each in await self.above(0)))

    async def _listen(self, sealer: Sealer) -> None:
        """Let ``sealer`` know of a key as soon as it is made."""

        async def hear(message: Msg) -> None:
            name = subjects.content_key_name(subjects.content_key_number(message.subject))
            with suppress(JournalUnavailable):
                # It is told to everybody before it is stored, and may never be.
                await bucket.demand(self._client, name, wait_s=self._wait_s)
                await sealer.renew()

        await self._client.subscribe(subjects.ALL_CONTENT_KEYS, cb=hear)

    async def _follow(self, sealer: Sealer) -> None:
        while not self._client.is_closed:
            await asyncio.sleep(LOOK_S)
            with suppress(JournalUnavailable):
                await sealer.renew()


def _key(number: int, kept: Kept) -> ContentKey:
    return ContentKey(number=number, key=kept.value, at=kept.at)
