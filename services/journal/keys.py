"""Content keys, kept in the log's key-value bucket so that every process seals with the same.

They are numbered from 1 without gaps and never leave it: the newest seals, all of them open.
"""

import asyncio
from contextlib import suppress
from datetime import datetime

import msgspec
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects
from services.journal import JournalUnavailable
from services.journal.patience import patiently
from services.journal.reading import NO_MESSAGE
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
        self._log = client.jetstream()
        self._wait_s = wait_s
        self._following: asyncio.Task[None] | None = None

    async def get(self, number: int) -> ContentKey | None:
        """The key of a number."""

        async def once(_attempt_s: float) -> ContentKey | None:
            return await self._read(number)

        return await patiently(once, wait_s=self._wait_s)

    async def above(self, number: int) -> tuple[ContentKey, ...]:
        """Keys with a higher number, oldest first."""
        found: list[ContentKey] = []
        while (key := await self.get(number + len(found) + 1)) is not None:
            found.append(key)
        return tuple(found)

    async def make(self, number: int, fresh: bytes) -> ContentKey:
        """The key of a number: ``fresh``, unless somebody has made it. Many may ask at once."""

        async def once(_attempt_s: float) -> ContentKey:
            bucket = await self._log.key_value(subjects.KEYS)
            with suppress(nats.js.errors.KeyWrongLastSequenceError):
                await bucket.create(subjects.content_key_name(number), fresh)
            return await self._made(number)

        return await patiently(once, wait_s=self._wait_s)

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
            number = subjects.content_key_number(message.subject)

            async def once(_attempt_s: float) -> ContentKey:
                # It is told to everybody before it is stored, and may never be.
                return await self._made(number)

            with suppress(JournalUnavailable):
                await patiently(once, wait_s=self._wait_s)
                await sealer.renew()

        await self._client.subscribe(subjects.ALL_CONTENT_KEYS, cb=hear)

    async def _follow(self, sealer: Sealer) -> None:
        while not self._client.is_closed:
            await asyncio.sleep(LOOK_S)
            with suppress(JournalUnavailable):
                await sealer.renew()

    async def _made(self, number: int) -> ContentKey:
        made = await self._read(number)
        if made is None:
            raise JournalUnavailable("the content key is being written")
        return made

    async def _read(self, number: int) -> ContentKey | None:
        subject = subjects.content_key(number)
        try:
            found = await self._log.get_msg(subjects.KEYS_STREAM, subject=subject)
        except nats.js.errors.NotFoundError as error:
            if error.err_code != NO_MESSAGE:
                raise
            return None
        assert found.time is not None
        return ContentKey(number=number, key=found.data or b"", at=found.time)
