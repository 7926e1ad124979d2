"""Bodies in memory: each is bounded, and so are all of this process together."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from schemas.http.errors import TooLarge, TooMany, TooSlow

RATE_MIN = 16 * 1024
"""Bytes of a body a second, after a first wait: what is announced is held as if it were there, and
whoever sends it byte by byte would keep others out."""

Endpoint = Callable[[Request], Awaitable[Response]]

_HELD = "turnlog.body_bytes_held"
"""Where a request's scope notes how much of its body is held."""


class BodyReader:
    """Counts the bytes of requests that are read or worked on."""

    def __init__(self, *, bytes_max: int, held_bytes_max: int, wait_s: float) -> None:
        """``bytes_max`` bounds one body, ``held_bytes_max`` all of them that are held at once.

        ``wait_s`` is how long a client may send nothing of what it has announced, and all in all
        later than at `RATE_MIN`.
        """
        self.bytes_max = bytes_max
        self._held_bytes_max = max(held_bytes_max, bytes_max)
        self._wait_s = wait_s
        self._held = 0

    def hold(self, size: int) -> None:
        """Count so many bytes; raises `TooMany` if they are too many together with the others."""
        if self._held + size > self._held_bytes_max:
            raise TooMany("Too many requests are being read at once. Please retry.")
        self._held += size

    def let_go(self, size: int) -> None:
        """Count so many bytes no longer."""
        self._held -= size

    def check(self, size: int) -> None:
        """Refuse a body of too many bytes."""
        if size > self.bytes_max:
            raise TooLarge(
                f"The request body is larger than {self.bytes_max} bytes.",
                code="request_too_large",
            )

    async def read(self, request: Request) -> bytes:
        """The whole body, held until it is released.

        What is announced is counted before any of it is read, so that some of many large bodies are
        read whole, rather than a part of each.
        """
        told = request.headers.get("content-length", "")
        announced = int(told) if told.isdigit() else 0
        self.check(announced)
        self._hold_for(request, announced)
        parts: list[bytes] = []
        size = 0
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(self._wait_s) as limit:
                async for part in request.stream():
                    size += len(part)
                    if size > announced:
                        self.check(size)
                        self._hold_for(request, size)
                    if len(part) > 0 and parts:
                        last = begun + self._wait_s + size / RATE_MIN
                        limit.reschedule(min(loop.time() + self._wait_s, last))
                    parts.append(part)
        except TimeoutError as error:
            raise TooSlow("The request body did not come in time.") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self, request: Request) -> None:
        """Count a request's body no longer, if it is still counted."""
        self.let_go(request.scope.pop(_HELD, 0))

    def bounded(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint that holds what it reads until it has answered."""

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            finally:
                self.release(request)

        return answer

    def _hold_for(self, request: Request, size: int) -> None:
        held: int = request.scope.get(_HELD, 0)
        self.hold(size - held)
        request.scope[_HELD] = size
