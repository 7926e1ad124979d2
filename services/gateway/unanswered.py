"""Requests that nothing has been said to yet, so that none is cut off when the process stops."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import answers
from services.gateway.listener import ServerStopping


class Unanswered:
    """Knows them, and can tell all of them to ask again elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        """``app`` answers the requests."""
        self._app = app
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._stopping = False

    def stop(self) -> None:
        """Answer every request that has no answer yet with a refusal that may be repeated."""
        self._stopping = True
        for task in tuple(self._tasks):
            if task is not None:
                task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        self._tasks.add(task)

        async def send_noted(message: Message) -> None:
            self._tasks.discard(task)
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if task is None or task not in self._tasks or not self._stopping:
                raise
            task.uncancel()
            stopping = ServerStopping("The server is stopping. Please retry.")
            answer = await answers.on_fault(Request(scope), stopping)
            await answer(scope, receive, send)
        finally:
            self._tasks.discard(task)
