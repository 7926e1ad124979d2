"""The connection of a process to NATS: it never gives up, and says when it comes and goes."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import nats
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import queries, subjects

log = structlog.get_logger()

Health = Callable[[], Awaitable[queries.Health]]


def options(url: str, *, name: str) -> dict[str, Any]:
    """Arguments for a connection that survives restarts of the server."""

    async def disconnected() -> None:
        log.info("nats.disconnected")

    async def reconnected() -> None:
        log.info("nats.reconnected")

    async def failed(error: Exception) -> None:
        log.warning("nats.failed", error=type(error).__name__)

    return {
        "servers": [url],
        "name": f"turnlog-{name}",
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.2,
        "disconnected_cb": disconnected,
        "reconnected_cb": reconnected,
        "error_cb": failed,
    }


async def connect(url: str, *, name: str) -> Client:
    """A connection under ``name``, which NATS shows to its operators."""
    return await nats.connect(**options(url, name=name))


async def answer_health(client: Client, process: str, health: Health) -> None:
    """Answer, from now on, whoever asks whether this process can serve."""

    async def answer(message: Msg) -> None:
        await message.respond(msgspec.json.encode(await health()))

    await client.subscribe(subjects.ask_health(process), cb=answer)
