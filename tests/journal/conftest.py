"""Real nats-servers, each on a free port with a store of its own."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import nats
import pytest

from services.journal import streams
from services.journal.jetstream import JetStreamJournal

SERVER = Path(sys.executable).parent / "nats-server"


@contextlib.contextmanager
def server(directory: Path):
    """A server as ``turnlog up`` configures it; yields its URL."""
    configuration = {
        "listen": "127.0.0.1:-1",
        "ports_file_dir": str(directory),
        "max_payload": 8 * 1024 * 1024,
        "jetstream": {"store_dir": str(directory / "jetstream"), "sync_interval": "always"},
        "log_file": str(directory / "log"),
    }
    path = directory / "nats.conf"
    path.write_text(json.dumps(configuration))
    with subprocess.Popen([str(SERVER), "-c", str(path)], stderr=subprocess.DEVNULL) as process:
        try:
            yield listening(process, directory)
        finally:
            process.terminate()


def listening(process, directory):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for path in directory.glob(f"*_{process.pid}.ports"):
            # Half a file is no JSON yet.
            with contextlib.suppress(ValueError):
                return json.loads(path.read_text())["nats"][0]
        time.sleep(0.005)
    raise AssertionError((directory / "log").read_text())


@pytest.fixture(scope="session")
def server_url(tmp_path_factory):
    with server(tmp_path_factory.mktemp("nats")) as url:

        async def declare():
            async with await nats.connect(url) as client:
                await streams.declare(client)

        asyncio.run(declare())
        yield url


@pytest.fixture
def empty_server_url(tmp_path):
    with server(tmp_path) as url:
        yield url


@pytest.fixture
async def connect(server_url):
    """Opens connections to the server of the session; all are closed at the end."""
    async with contextlib.AsyncExitStack() as opened:

        async def one():
            return await opened.enter_async_context(await nats.connect(server_url))

        yield one


@pytest.fixture
async def client(connect):
    return await connect()


@pytest.fixture
def jetstream_journal(client):
    return JetStreamJournal(client, wait_s=2)
