"""The calls to the model that run in this process; each can be stopped from outside."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from services.responder.at_work import Key

T = TypeVar("T")


class Stopped(Exception):
    """The call was stopped by a client, or for the turn ``interrupted_by``; it is really over."""

    def __init__(self, interrupted_by: str | None = None) -> None:
        """``interrupted_by`` is a response id."""
        super().__init__(interrupted_by)
        self.interrupted_by = interrupted_by


class HandedOver(Exception):
    """The call was stopped since this process stops; another one may make it again."""


class RunningCalls:
    """Calls by the response they are for."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Any]] = {}
        self._reasons: dict[Key, Stopped | HandedOver] = {}
        self._cancellable: set[Key] = set()

    async def run(self, key: Key, call: Coroutine[Any, Any, T]) -> T:
        """What ``call`` returns; raises the reason once it has ended because of `stop`."""
        if key in self._reasons:
            call.close()
            raise self._reasons[key]
        task = asyncio.create_task(call)
        self._tasks[key] = task
        try:
            return await task
        except asyncio.CancelledError:
            reason = self._reasons.get(key)
            if reason is None:
                raise
            raise reason from None

    def let_cancel(self, key: Key) -> None:
        """A client may stop the calls for a response."""
        self._cancellable.add(key)

    def stop(self, key: Key, reason: Stopped | HandedOver) -> bool:
        """Stop a call, or the one about to be made; false if it is over, or may not be stopped."""
        by_client = isinstance(reason, Stopped) and reason.interrupted_by is None
        if by_client and key not in self._cancellable:
            return False
        task = self._tasks.get(key)
        if task is not None and task.done():
            return False
        self._reasons.setdefault(key, reason)
        if task is not None:
            task.cancel()
        return True

    def forget(self, key: Key) -> None:
        """No further call is made for a response."""
        self._tasks.pop(key, None)
        self._reasons.pop(key, None)
        self._cancellable.discard(key)
