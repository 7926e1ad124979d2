"""The calls to the model that run in this process; each can be stopped from outside."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The call was stopped, and is really over."""


class RunningCalls:
    """Calls by the response they are for."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._stopped: set[tuple[str, str]] = set()

    async def run(self, project: str, response_id: str, call: Coroutine[Any, Any, T]) -> T:
        """What ``call`` returns; raises `Stopped` once it has ended because of `stop`."""
        key = (project, response_id)
        task = asyncio.create_task(call)
        self._tasks[key] = task
        try:
            return await task
        except asyncio.CancelledError:
            if key in self._stopped:
                raise Stopped from None
            raise
        finally:
            if self._tasks.get(key) is task:
                del self._tasks[key]
                self._stopped.discard(key)

    def running(self, project: str, response_id: str) -> bool:
        """Whether there is a call for a response."""
        return (project, response_id) in self._tasks

    def stop(self, project: str, response_id: str) -> bool:
        """Stop a call; false if it does not run here."""
        task = self._tasks.get((project, response_id))
        if task is None or task.done():
            return False
        self._stopped.add((project, response_id))
        task.cancel()
        return True
