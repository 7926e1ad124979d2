"""Whoever has asked for an answer in pieces: told them one by one, and noticed when gone."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NoReturn

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas.queries import KIND_HEADER, STANDS_HEADER, TRUNCATED_HEADER, WORKING
from services import clock

WORKING_S = 1.0
"""How often an asker is told that its answer is being worked on."""
CANCEL_S = 0.1
ENVELOPE_BYTES = 4096
"""Room a message needs around a piece."""


class AskerGone(Exception):
    """Nobody takes the answer any more."""


class Asker:
    """Takes a message at a time: the next one is sent when it has replied to the one before."""

    def __init__(self, client: Client, question: Msg) -> None:
        """``question`` says where it listens."""
        self._client = client
        self._subject = question.reply

    async def tell(
        self,
        kind: str,
        data: bytes = b"",
        *,
        sequence: int = 0,
        truncated: bool = False,
        until: float,
    ) -> None:
        """Return when it was taken; raises `AskerGone` if it was not by ``until``."""
        headers = {KIND_HEADER: kind}
        if sequence:
            headers[STANDS_HEADER] = str(sequence)
        if truncated:
            headers[TRUNCATED_HEADER] = "true"
        try:
            taken = await self._client.request(
                self._subject, data, timeout=max(0.001, until - clock.monotonic()), headers=headers
            )
        except (nats.errors.Error, TimeoutError) as error:
            raise AskerGone from error
        if taken.data:
            raise AskerGone

    async def while_there(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``, or as much of it as anybody waits for; raises `AskerGone`."""
        tasks = [asyncio.create_task(work), asyncio.create_task(self._watch())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _watch(self) -> NoReturn:
        # Also while a piece is on its way: it may be waiting where nobody will look any more. Who
        # is only slow answers this with all the rest.
        while True:
            await asyncio.sleep(WORKING_S)
            try:
                with suppress(TimeoutError):
                    taken = await self._client.request(
                        self._subject, timeout=WORKING_S, headers={KIND_HEADER: WORKING}
                    )
                    if taken.data:
                        raise AskerGone
            except nats.errors.NoRespondersError as error:
                raise AskerGone from error
            except nats.errors.Error:
                # The connection is being made anew: whoever waits may be there again as well.
                continue


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    pending = set(tasks)
    while pending:
        # Again and again: before Python 3.12 one that waits for a reply may go on all the same.
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_S)
