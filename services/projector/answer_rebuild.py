"""Answers ``ask.rebuild`` and ``ask.digest``: the views built again, and compared with others."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects
from schemas.queries import Digest, DigestAnswer, Rebuild, Rebuilding
from services.projector.answering import note_crash
from services.projector.generation import digested
from services.projector.generations import Generations


class RebuildAnswerer:
    """A rebuild goes on if whoever asked for it has gone."""

    def __init__(self, client: Client, views: Generations) -> None:
        """``views`` are rebuilt, and compared."""
        self._client = client
        self._views = views
        self._working: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer from now on."""
        self._questions = [
            await self._client.subscribe(subjects.ask(name), queue=subjects.PROJECTOR, cb=take)
            for name, take in (("rebuild", self._take_rebuild), ("digest", self._take_digest))
        ]

    async def stop(self) -> None:
        """Give up what is being built."""
        for subscription in self._questions:
            if self._client.is_connected:
                await subscription.unsubscribe()
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _take_rebuild(self, message: Msg) -> None:
        self._begin(self._rebuild(message))

    async def _take_digest(self, message: Msg) -> None:
        self._begin(self._digest(message))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _rebuild(self, message: Msg) -> None:
        async def tell(said: Rebuilding) -> None:
            await message.respond(msgspec.json.encode(said))

        try:
            asked = msgspec.json.decode(message.data, type=Rebuild)
            came_to = await self._views.rebuild(asked, tell)
        except msgspec.MsgspecError as error:
            came_to = Rebuilding(done=True, error=f"not a question: {error}")
        except Exception as error:  # noqa: BLE001 - told is that it failed
            note_crash("rebuild.crashed", error)
            came_to = Rebuilding(done=True, error="the projector failed to build the views")
        await tell(came_to)

    async def _digest(self, message: Msg) -> None:
        try:
            asked = msgspec.json.decode(message.data, type=Digest)
            if await self._views.reached(asked.sequence, wait_s=asked.wait_s):
                answer = await digested(await self._views.current.snapshot())
            else:
                answer = DigestAnswer(
                    sequence=self._views.sequence,
                    error=f"the views did not reach {asked.sequence}: {self._views.hindrance()}",
                )
        except msgspec.MsgspecError as error:
            answer = DigestAnswer(error=f"not a question: {error}")
        except Exception as error:  # noqa: BLE001 - told is that it failed
            note_crash("digest.crashed", error)
            answer = DigestAnswer(error="the projector failed to compare the views")
        await message.respond(msgspec.json.encode(answer))
