"""A file of views with the projection that keeps it; of another release's views, the file alone."""

import asyncio
from contextlib import suppress

import duckdb

from schemas.queries import DigestAnswer
from services.journal import connect
from services.projector.database import Database, Frozen
from services.projector.digest import digest
from services.projector.log_client import LogClient
from services.projector.parking import Parking
from services.projector.projection import Projection
from services.projector.settings import ProjectorSettings

SEQUENCE = "sequence"
_ERASED = "SELECT count(*) > 0 FROM erasures WHERE sequence > $sequence"


class Generation:
    """From `start`, which a frozen one has not, to `close`.

    Each has a connection of its own: the server ends one that is too much behind, and a file that
    is built falls behind all the time.
    """

    def __init__(
        self, views: Database | Frozen, settings: ProjectorSettings, *, parking: bool
    ) -> None:
        """``parking``: what cannot be projected is parked, and does not stop it."""
        self.views = views
        self.replaced = asyncio.Event()
        self.projection: Projection | None = None
        self.task: asyncio.Task[None] | None = None
        self._settings = settings
        self.client = LogClient()
        """Its connection, once it is started."""
        if isinstance(views, Database):
            park = Parking(self.client, None).park if parking else None
            self.projection = Projection(self.client, views, settings, park=park)

    @property
    def sequence(self) -> int:
        """Sequence up to which everything is in the views."""
        return self.views.sequence if self.projection is None else self.projection.sequence

    @property
    def parked(self) -> int:
        """How many commits before that are not, since they could not be projected."""
        return len(self.views.parked) if isinstance(self.views, Database) else 0

    def erased_since(self, sequence: int) -> bool:
        """Whether rows of earlier views are gone for good in these."""
        connection = self.views.cursor()
        try:
            return connection.execute(_ERASED, {"sequence": sequence}).fetchone() == (True,)
        finally:
            connection.close()

    async def start(self) -> None:
        """Follow the log."""
        assert self.projection is not None
        options = connect.options(
            self._settings.nats_url, name="projector-views", tls=self._settings.tls()
        )
        await self.client.connect(**options)
        self.task = asyncio.create_task(self.projection.run())

    async def reached(self, sequence: int, *, wait_s: float) -> bool:
        """Whether everything up to ``sequence`` is in the views, now or within ``wait_s`` seconds.

        Does not wait for what will not come, nor once another one has taken its place.
        """
        if self.projection is not None:
            return await self.projection.reached(sequence, wait_s=wait_s)
        if self.sequence < sequence:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.replaced.wait(), wait_s)
        return self.sequence >= sequence

    def retire(self) -> None:
        """Have nobody wait for this one any more."""
        self.replaced.set()
        if self.projection is not None:
            self.projection.retire()

    async def close(self) -> None:
        """Follow no more, and let go of the file: statements that run have it until they end."""
        try:
            if self.task is not None:
                self.task.cancel()
                await asyncio.gather(self.task, return_exceptions=True)
            if self.client.is_connected:
                await self.client.close()
        finally:
            await asyncio.to_thread(self.views.close)

    async def snapshot(self) -> duckdb.DuckDBPyConnection:
        """A connection that sees the views as they are now, for as long as it is open."""
        return await asyncio.to_thread(_snapshot, self.views)


def _snapshot(views: Database | Frozen) -> duckdb.DuckDBPyConnection:
    connection = views.cursor()
    connection.execute("BEGIN TRANSACTION READ ONLY")
    # Only what is read begins a transaction in earnest.
    connection.execute("SELECT sequence FROM projection").fetchone()
    return connection


async def digested(snapshot: duckdb.DuckDBPyConnection) -> DigestAnswer:
    """What is in a snapshot; closes it."""
    try:
        tables = await asyncio.to_thread(digest, snapshot)
    finally:
        snapshot.close()
    sequence = int(tables.pop(SEQUENCE))
    return DigestAnswer(sequence=sequence, tables=tables)
