import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.cli import up
from services.cli.probe import NotReady, wait_for_answer


@asynccontextmanager
async def answering(*statuses: str) -> AsyncIterator[int]:
    left = list(statuses)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")
        status = left.pop(0) if len(left) > 1 else left[0]
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_server_is_asked_until_it_can_serve():
    async with answering("503 Service Unavailable", "500 No", "200 OK") as port:
        await wait_for_answer("127.0.0.1", port, "/healthz", wait_s=30.0)


async def test_the_last_answer_is_told():
    async with answering("503 Not Yet") as port:
        with pytest.raises(NotReady, match=r"within 1\.5 s: answered 'HTTP/1\.1 503 Not Yet'"):
            await wait_for_answer("127.0.0.1", port, "/healthz", wait_s=1.5)


async def test_nobody_listening_is_told():
    with pytest.raises(NotReady, match="Connect call failed"):
        await wait_for_answer("127.0.0.1", up.free_port(), "/healthz", wait_s=0.2)
