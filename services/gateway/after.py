"""Reads that wait until the log stands where their client says it must.

A fold is as fresh as the log: there is nothing to wait for but the log itself, as behind a server
of a cluster that is late. So what a read without the header costs is looking for it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from schemas import subjects
from schemas.http.beside import AFTER_HEADER
from schemas.http.errors import Invalid, Overloaded
from services import clock

WAIT_S = 5.0
"""Seconds a read waits at most."""
POLL_S = 0.05

_DIGITS_MAX = 18

Endpoint = Callable[[Request], Awaitable[Response]]


class NotThereYet(Overloaded):
    """The log does not stand at that sequence, and may never."""

    def __init__(self, sequence: int, *, reached: int) -> None:
        super().__init__(
            f"The log stands at {reached} and did not reach {sequence} in {WAIT_S:g} s. "
            "Please retry."
        )


def after_sequence(connection: HTTPConnection) -> int:
    """The sequence an answer must stand at, or behind; 0: any."""
    value = connection.headers.get(AFTER_HEADER)
    if value is None:
        return 0
    if not (value.isascii() and value.isdecimal() and len(value) <= _DIGITS_MAX):
        raise Invalid(
            f"Invalid '{AFTER_HEADER}': expected a sequence of the log.", param=AFTER_HEADER
        )
    return int(value)


class AfterSequence:
    """Holds reads back, where they ask for it."""

    def __init__(self, client: Client) -> None:
        """``client`` asks the log where it stands."""
        self._jetstream = client.jetstream(timeout=WAIT_S)

    def awaited(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint``, once the log is where its request wants it."""

        async def answered(request: Request) -> Response:
            if AFTER_HEADER in request.headers:
                await self._reached(after_sequence(request))
            return await endpoint(request)

        return answered

    async def _reached(self, sequence: int) -> None:
        until = clock.monotonic() + WAIT_S
        reached = 0
        while (left_s := until - clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    info = await self._jetstream.stream_info(subjects.CONVERSATIONS)
                    reached = info.state.last_seq
            except (nats.errors.Error, TimeoutError):
                pass
            if reached >= sequence:
                return
            await asyncio.sleep(POLL_S)
        raise NotThereYet(sequence, reached=reached)
