"""Lets in whoever has a key, before anything else of a request is looked at, and out again.

When a key is revoked or expires, whatever its holder still has open ends at once: requests that are
not answered yet are refused, streams and WebSockets are told why. Turns that were accepted go on.
"""

import asyncio
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.http import websocket
from schemas.http.errors import ApiError
from schemas.http.scopes import KeyIncorrect, KeyMissing
from services import clock
from services.gateway import answers
from services.gateway.identify import CALLER, LEFT, OPEN_PATHS
from services.gateway.key_ring import ANYBODY, Caller, KeyRing
from services.gateway.rate import Bucket, RateLimited
from services.gateway.request_log import ANSWER

TOKEN_LENGTH_MAX = 256
POLICY_VIOLATION = 1008
"""RFC 6455, section 7.4.1; the SDK does not connect again after it."""

Tasks = dict[asyncio.Task[Any], Scope]


class Authentication:
    """The door in front of ``app``."""

    def __init__(self, app: ASGIApp, ring: KeyRing) -> None:
        """``ring`` knows the keys, and says when one ends."""
        self._app = app
        self._ring = ring
        self._open: dict[str | None, Tasks] = {}
        ring.ended = self._let_out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope) if self._ring.required else ANYBODY
            if caller.bucket is not None:
                send = _counted(caller.bucket, scope, send)
        except ApiError as refused:
            answer = answers.refused(refused)
            if isinstance(refused, RateLimited):
                answer.headers.update(refused.taken.headers())
            await answer(scope, receive, send)
            return
        scope[CALLER] = caller
        task = asyncio.current_task()
        assert task is not None
        tasks = self._open.setdefault(caller.key_id, {})
        tasks[task] = scope
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            left = scope.get(LEFT)
            if left is None:
                raise
            task.uncancel()
            await _tell(left, scope, receive, send)
        finally:
            del tasks[task]
            if not tasks:
                self._open.pop(caller.key_id, None)

    async def _caller(self, scope: Scope) -> Caller:
        token = _token(scope)
        return self._ring.known(token) or await self._ring.verified(token)

    def _let_out(self, key_id: str | None) -> None:
        for task, scope in tuple(self._open.get(key_id, {}).items()):
            scope[LEFT] = KeyIncorrect()
            task.cancel()


def _counted(bucket: Bucket, scope: Scope, send: Send) -> Send:
    """``send``, which tells how many requests are left after this; raises `RateLimited`."""
    if scope["type"] == "websocket":
        # Each of its frames is a request, and counted as that.
        return send
    taken = bucket.take(clock.monotonic())
    if taken.wait_s:
        raise RateLimited(taken)
    told = [(name.encode(), value.encode()) for name, value in taken.headers().items()]

    async def send_told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *told]}
        await send(message)

    return send_told


def _token(scope: Scope) -> str:
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if not given:
        raise KeyMissing
    scheme, _, token = given[0].partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise KeyMissing
    if len(given) > 1 or len(token) > TOKEN_LENGTH_MAX or not token.isascii():
        raise KeyIncorrect
    return str(token.strip().decode())


async def _tell(left: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Say why an answer that was on its way is not told to its end."""
    with suppress(RuntimeError):
        # Unless all of it was said by now.
        if ANSWER not in scope:
            await answers.refused(left)(scope, receive, send)
        elif scope["type"] == "websocket":
            frame = websocket.refusal(
                left.body(), status=left.status, retry_after_s=None, stream_id=None
            )
            await send({"type": "websocket.send", "text": frame.decode()})
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
