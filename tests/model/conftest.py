"""The simulator as a process, and an upstream that answers any bytes."""

import asyncio
import json
import subprocess
import sys
import warnings

import pytest

from services.model.tokenizer import Tokenizer


@pytest.fixture(scope="session", autouse=True)
def vocabulary():
    """Load it once, outside the rule that warnings are errors: its package uses an old API."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        Tokenizer().count_text("")


@pytest.fixture(scope="session")
def simulator_url():
    command = [sys.executable, "-m", "services.simulator", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stderr.readline())["url"]
        finally:
            process.terminate()


@pytest.fixture
async def answering():
    """Starts an HTTP server that answers every request with the same body; returns its URL."""
    servers = []

    async def start(body: bytes, *, kind: str = "application/json") -> str:
        async def answer(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            await reader.readexactly(length)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%b" % (kind.encode(), len(body), body)
            )
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()
