"""The projector's table of contents: the connection, the file, and who uses them."""

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
import uvloop

from services import telemetry
from services.journal import connect, streams
from services.projector.answer_export import ExportAnswerer
from services.projector.answer_listing import ListingAnswerer
from services.projector.answer_query import QueryAnswerer
from services.projector.answer_rebuild import RebuildAnswerer
from services.projector.files import ViewsInUse
from services.projector.generations import Generations
from services.projector.lag import Lag
from services.projector.settings import ProjectorSettings
from services.projector.threads import Threads
from services.settings import demand

COLLECTED_OBJECTS = 100_000
"""New objects before Python looks for cycles. Ours have none, and a batch makes 100,000 at a time:
looking through them as often as is the default takes a quarter of a rebuild."""
SWITCH_S = 0.0005
"""Seconds a thread may keep the interpreter from one that waits. The writer needs it for moments
only, dozens of times a transaction; at the default of 5 ms it would mostly wait."""

OTHER_BYTES = 2 * 1024 * 1024 * 1024
"""Memory of everything but DuckDB's own: the interpreter, batches that are prepared, answers."""

log = structlog.get_logger()


@asynccontextmanager
async def opened(settings: ProjectorSettings) -> AsyncIterator[Generations]:
    """Views with their files and connections; they answer questions, and are yet to be run."""
    client = await connect.connect(settings.nats_url, name="projector", tls=settings.tls())
    try:
        await streams.declare(client, chosen=settings)
        views = Generations(settings)
        await views.open()
        threads = Threads(settings.sql_parallel_max, name="sql", unending_s=settings.sql_unending_s)
        answerers = (
            QueryAnswerer(client, views, threads, settings),
            ListingAnswerer(client, views, threads, settings),
            ExportAnswerer(client, views, settings),
            RebuildAnswerer(client, views),
        )
        try:
            for answerer in answerers:
                await answerer.start()
            await connect.answer_health(client, "projector", Lag(client, views).health)
            yield views
        finally:
            for answerer in answerers:
                await answerer.stop()
            threads.close()
            await views.close()
    finally:
        await client.close()


async def run(settings: ProjectorSettings) -> None:
    """Project until SIGTERM or SIGINT."""

    async def work() -> None:
        async with opened(settings) as views:
            log.info("projector.started", sequence=views.sequence)
            await views.run()

    working = asyncio.create_task(work())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    with suppress(asyncio.CancelledError):
        await working
    log.info("projector.stopped")


def bound_memory(settings: ProjectorSettings) -> None:
    """Have allocations fail that no statement should need.

    DuckDB counts tables and intermediate results, not the values a function makes meanwhile:
    ``repeat('x', 4000000000)`` would take what the whole machine has.
    """
    # Twice: views may be built beside those that answer.
    bound = 2 * settings.duckdb_memory_bytes_max + OTHER_BYTES
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most == resource.RLIM_INFINITY or bound < most:
        resource.setrlimit(resource.RLIMIT_DATA, (bound, most))


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = demand(ProjectorSettings)
    telemetry.configure(process="projector", level=settings.log_level)
    gc.set_threshold(COLLECTED_OBJECTS)
    bound_memory(settings)
    os.nice(settings.niceness)
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(run(settings))
        except ViewsInUse as error:
            sys.exit(f"turnlog: {error}")
