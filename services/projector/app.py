"""The projector's table of contents: the connection, the file, and who uses them."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
import uvloop

from schemas.queries import Health
from services import telemetry
from services.journal import connect, streams
from services.projector.answer_query import QueryAnswerer
from services.projector.database import Database, ViewsInUse
from services.projector.log_client import LogClient
from services.projector.projection import Projection
from services.projector.settings import ProjectorSettings
from services.settings import demand

COLLECTED_OBJECTS = 100_000
"""New objects before Python looks for cycles. Ours have none, and a batch makes 100,000 at a time:
looking through them as often as is the default takes a quarter of a rebuild."""
SWITCH_S = 0.0005
"""Seconds a thread may keep the interpreter from one that waits. The writer needs it for moments
only, dozens of times a transaction; at the default of 5 ms it would mostly wait."""

log = structlog.get_logger()


@asynccontextmanager
async def opened(settings: ProjectorSettings) -> AsyncIterator[Projection]:
    """A projection with its connection and its file; it answers questions, and is yet to be run."""
    client = LogClient()
    await client.connect(**connect.options(settings.nats_url, name="projector"))
    try:
        await streams.declare(client, chosen=settings)
        database = await asyncio.to_thread(Database, settings)
        projection = Projection(client, database, settings)
        answerer = QueryAnswerer(client, database, projection, settings)

        async def health() -> Health:
            return projection.health()

        try:
            await answerer.start()
            await connect.answer_health(client, "projector", health)
            yield projection
        finally:
            await answerer.stop()
            await asyncio.to_thread(database.close)
    finally:
        await client.close()


async def run(settings: ProjectorSettings) -> None:
    """Project until SIGTERM or SIGINT."""

    async def work() -> None:
        async with opened(settings) as projection:
            log.info("projector.started", sequence=projection.sequence)
            await projection.run()

    working = asyncio.create_task(work())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    with suppress(asyncio.CancelledError):
        await working
    log.info("projector.stopped")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = demand(ProjectorSettings)
    telemetry.configure(process="projector", level=settings.log_level)
    gc.set_threshold(COLLECTED_OBJECTS)
    os.nice(settings.niceness)
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(run(settings))
        except ViewsInUse as error:
            sys.exit(f"turnlog: {error}")
