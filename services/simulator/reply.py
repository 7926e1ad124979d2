"""One exchange over ASGI: the body that came, the answer that goes, and whether the client left.

Frames of a stream with no delay between them leave in as few writes as possible.
"""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Message, Receive, Scope, Send

from schemas.http.errors import TooLarge
from services import ids
from services.simulator.connection import cut
from services.simulator.directives import Delivery
from services.simulator.faults import Frame, Trouble, index_of, spoilt, spoilt_body

BODY_BYTES_MAX = 64 << 20
WRITE_BYTES = 64 << 10

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
_STREAM_HEADERS = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_OK = 200

Headers = list[tuple[bytes, bytes]]


class Reply:
    """The exchange; as a context it ends with nobody watched any more."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's three arguments."""
        self._scope = scope
        self._receive = receive
        self._send = send
        self._watched: asyncio.Task[Message] | None = None
        self.started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._watched:
            self._watched.cancel()

    async def body(self) -> bytes:
        """The whole body of the request."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise TooLarge(f"The body is longer than {BODY_BYTES_MAX} bytes.")
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def left_within(self, wait_s: float | None) -> bool:
        """Wait, forever if for None; whether the client left meanwhile."""
        watched = self._watch()
        await asyncio.wait((watched,), timeout=wait_s)
        return watched.done()

    async def left_before(self, opened: asyncio.Event) -> bool:
        """Wait at a gate; whether the client left before it was opened."""
        watched = self._watch()
        waiting = asyncio.create_task(opened.wait())
        try:
            await asyncio.wait((watched, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return watched.done()

    async def cut(self) -> None:
        """Cut the connection before anything was said."""
        cut(self._scope)
        await self.left_within(None)

    async def whole(
        self,
        payload: bytes,
        *,
        status: int = _OK,
        content_type: bytes = JSON,
        headers: Headers | None = None,
    ) -> None:
        """An answer in one piece."""
        length = (b"content-length", b"%d" % len(payload))
        await self._start(status, content_type, [length, *(headers or ())])
        await self._write(payload, more=False)

    async def plain(self, payload: bytes, trouble: Trouble) -> bool:
        """A plain answer with its trouble; whether the client left before its end."""
        payload = spoilt_body(payload, trouble)
        if trouble.hang is None and trouble.drop is None:
            await self.whole(payload)
            return False
        await self._start(_OK, JSON, [(b"content-length", b"%d" % len(payload))])
        # An answer that is left unfinished makes the server cut the connection.
        await self._write(payload[: len(payload) // 2], more=True)
        return trouble.hang is not None and await self.left_within(None)

    async def events(
        self,
        frames: list[Frame],
        delivery: Delivery,
        trouble: Trouble,
        *,
        ending: int,
        opened: asyncio.Event | None,
    ) -> bool:
        """A streamed answer with its trouble; whether the client left before its end."""
        await self._start(_OK, EVENTS, _STREAM_HEADERS)
        frames = spoilt(frames, trouble, ending=ending)
        gate = delivery.gate and index_of(delivery.gate.place, frames, ending=ending)
        waiting: list[bytes] = []
        size = 0
        for index, (delta, payload) in enumerate(frames):
            paced = delta and delivery.delay_s > 0
            if paced or index == gate or size > WRITE_BYTES:
                await self._write(b"".join(waiting), more=True)
                waiting, size = [], 0
                if index == gate and opened and await self.left_before(opened):
                    return True
                if await self.left_within(delivery.delay_s if paced else 0):
                    return True
            waiting.append(payload)
            size += len(payload)
        broken = trouble.hang is not None or trouble.drop is not None
        await self._write(b"".join(waiting), more=broken)
        return trouble.hang is not None and await self.left_within(None)

    def _watch(self) -> "asyncio.Task[Message]":
        if self._watched is None:
            self._watched = asyncio.create_task(_next(self._receive))
        return self._watched

    async def _start(self, status: int, content_type: bytes, headers: Headers) -> None:
        self.started = True
        request_id = (b"x-request-id", b"req_" + ids.unique().encode())
        all_headers = [(b"content-type", content_type), request_id, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def _write(self, payload: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": payload, "more_body": more})


async def _next(receive: Receive) -> Message:
    return await receive()
