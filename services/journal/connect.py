"""The connection of a process to NATS: it never gives up, and says when it comes and goes."""

import random
import ssl
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


PING_INTERVAL_S = 2
PINGS_MAX = 2
"""Pings without an answer after which a silent server is given up: within six seconds."""


def servers(url: str) -> list[str]:
    """The servers a setting names, with commas between those of a cluster.

    Each has its own credentials.
    """
    return [each.strip() for each in url.split(",") if each.strip()]


def without_credentials(url: str) -> str:
    """``url`` as it may be logged."""
    return ",".join(map(_without_credentials, servers(url)))


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def options(url: str, *, name: str, tls: ssl.SSLContext | None = None) -> dict[str, Any]:
    """Arguments for a connection that survives the end of any server of ``url``."""

    async def disconnected() -> None:
        log.info("nats.disconnected")

    async def reconnected() -> None:
        log.info("nats.reconnected")

    async def failed(error: Exception) -> None:
        log.warning("nats.failed", error=type(error).__name__)

    return {
        "servers": servers(url),
        "name": f"turnlog-{name}",
        "inbox_prefix": inbox_prefix(name),
        **secured(tls),
        "max_reconnect_attempts": -1,
        # Not all at once: whoever has lost the same server comes to the next one too.
        "reconnect_time_wait": random.uniform(0.15, 0.3),  # noqa: S311 - nothing is kept secret by it
        "ping_interval": PING_INTERVAL_S,
        "max_outstanding_pings": PINGS_MAX,
        "disconnected_cb": disconnected,
        "reconnected_cb": reconnected,
        "error_cb": failed,
    }


def secured(tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Arguments for a connection that says nothing, not even who it is, before it is encrypted."""
    return {} if tls is None else {"tls": tls, "tls_handshake_first": True}


def inbox_prefix(name: str) -> str:
    """Where answers to a process come: it may be allowed to listen there and nowhere else."""
    return f"_INBOX_{name.partition('-')[0]}"


async def connect(url: str, *, name: str, tls: ssl.SSLContext | None = None) -> Client:
    """A connection under ``name``, which NATS shows to its operators."""
    return await nats.connect(**options(url, name=name, tls=tls))


async def answer_health(client: Client, process: str, health: Health) -> None:
    """Answer, from now on, whoever asks whether this process can serve."""

    async def answer(message: Msg) -> None:
        await message.respond(msgspec.json.encode(await health()))

    await client.subscribe(subjects.ask_health(process), cb=answer)
