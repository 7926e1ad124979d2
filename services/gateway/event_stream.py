"""Server-sent events on their way out: copied through as they come (contract 3.1)."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schemas.http import stream_events
from schemas.http.errors import ApiError, Overloaded
from services import clock, ids
from services.gateway import answers
from services.gateway.identify import LEFT
from services.gateway.listener import Listener, Told

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
REFUSED_LATE = "The turn was refused after it had begun. Please retry."
_KEEP_ALIVE = b": keep-alive\n\n"


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: until the first event, and of silence before a sign of life."""

    answer_wait_s: float
    keep_alive_s: float


class EventStream(Response):
    """What a turn says, as a stream.

    The client may leave: the turn is finished and stored all the same.
    """

    def __init__(
        self,
        listener: Listener,
        opened: AsyncExitStack,
        patience: Patience,
        *,
        obfuscated: bool = False,
    ) -> None:
        """``opened`` is what ends with the answer."""
        self._listener = listener
        self._opened = opened
        self._patience = patience
        self._obfuscated = obfuscated
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; a refusal that comes first is answered as plain HTTP."""
        async with self._opened:
            first = await begun(self._listener, self._patience)
            if first.refusal is not None:
                await refused(first)(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await self._copy(first, scope, send)

    async def _copy(self, first: Told, scope: Scope, send: Send) -> None:
        told: Told | None = first
        try:
            while told is None or not (told.end or told.refusal is not None):
                payload = self._wire(told.payload) if told else _KEEP_ALIVE
                await send({"type": "http.response.body", "body": payload, "more_body": True})
                told = await self._listener.told(wait_s=self._patience.keep_alive_s)
            payload = self._wire(told.payload)
            if told.refusal is not None:
                # By a process that knew of it too late.
                payload = stream_events.error(REFUSED_LATE, number=self._listener.number)
        except Overloaded as fault:
            # The turn may well go on: a terminal event would say that it has ended.
            payload = stream_events.error(fault.message, number=self._listener.number)
        except asyncio.CancelledError:
            left = scope.get(LEFT)
            if left is not None:
                number = self._listener.number
                payload = stream_events.error(left.message, number=number, code=left.code)
                await send({"type": "http.response.body", "body": payload, "more_body": False})
            raise
        await send({"type": "http.response.body", "body": payload, "more_body": False})

    def _wire(self, payload: bytes) -> bytes:
        if self._obfuscated:
            return stream_events.obfuscated(payload, ids.letters)
        return payload


async def begun(listener: Listener, patience: Patience) -> Told:
    """What a turn says first; silence may also mean that whoever ended it died before telling."""
    until = clock.monotonic() + patience.answer_wait_s
    while (left_s := until - clock.monotonic()) > 0:
        told = await listener.told(wait_s=min(left_s, patience.keep_alive_s))
        # Who follows a turn that has not said anything yet hears nothing at first.
        if told is not None and (told.payload or told.end):
            return told
    raise Overloaded("The turn has not begun in time.")


def refused(told: Told) -> Response:
    """The error body a turn came to."""
    status = told.refusal or ApiError.status
    return answers.raw(told.payload, status=status, retry_after_s=told.retry_after_s)
