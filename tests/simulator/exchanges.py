"""What the simulator tells of the requests it has had, and waiting until it tells that."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx


async def listed(http: httpx.AsyncClient, said: str) -> list[dict[str, Any]]:
    """The exchanges with a text, oldest first."""
    exchanges = (await http.get("/simulator/requests")).json()
    return [one for one in exchanges if said in json.dumps(one["body"])]


async def until(condition: Callable[[], Awaitable[object]], *, wait_s: float = 30) -> None:
    """Wait for a condition that has to be asked for."""
    deadline = time.monotonic() + wait_s
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
