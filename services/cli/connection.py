"""The connection of a command that asks a running Turnlog: tried once, and not for long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client

from services import settings
from services.journal.connect import inbox_prefix, secured, servers

CONNECT_S = 2
"""Seconds the server of the log has to answer."""


@asynccontextmanager
async def connected(nats_url: str, *, name: str) -> AsyncIterator[Client]:
    """A connection to the log under ``name``; raises what nats-py or the system does."""
    client = await nats.connect(
        servers(nats_url),
        name=name,
        inbox_prefix=inbox_prefix("cli"),
        **secured(settings.read(settings.Settings).tls()),
        allow_reconnect=False,
        connect_timeout=CONNECT_S,
        # Without these a server that is down is asked sixty times before we are told.
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        error_cb=_ignore,
    )
    try:
        yield client
    finally:
        await client.close()


async def _ignore(_fault: Exception) -> None:
    """What keeps a connection from being made is raised as well; nats-py would log it too."""
