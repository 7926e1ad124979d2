from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from services.projector.database import Database
from tests.projector.builders import opened as open_in
from tests.projector.serving import Server, made_anew


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    """Opens the views in a folder of that name; all are closed after the test."""
    kept: list[Database] = []

    def open_one(name: str = "views") -> Database:
        database = open_in(tmp_path / name)
        kept.append(database)
        return database

    yield open_one
    for database in kept:
        database.close()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(nats_server: Server) -> AsyncIterator[Client]:
    """A connection to a server with an empty log."""
    connected = await nats.connect(nats_server.url)
    await made_anew(connected)
    yield connected
    await connected.close()
