"""The WebSocket protocol under a real server, with clients that only a raw socket can be."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from services.gateway.app import Server
from services.gateway.protocol import WebSocketProtocol

WAIT_S = 5.0
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FAREWELL = b"\x88\x82\0\0\0\0" + struct.pack("!H", 1000)


class Talker:
    """Talks until it cannot any more."""

    def __init__(self) -> None:
        self.said = 0
        self.ended = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "x" * 65536})
                self.said += 1
                await asyncio.sleep(0)
        except (OSError, RuntimeError):
            self.ended.set()


@asynccontextmanager
async def serving(app: Talker, *, ping_wait_s: float | None) -> AsyncIterator[tuple[Server, int]]:
    config = uvicorn.Config(
        app,
        ws=WebSocketProtocol,
        lifespan="off",
        log_config=None,
        ws_ping_interval=ping_wait_s,
        ws_ping_timeout=ping_wait_s,
        timeout_graceful_shutdown=3,
    )
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as door:
        running = asyncio.create_task(server.serve(sockets=[door]))
        try:
            yield server, door.getsockname()[1]
        finally:
            server.should_exit = True
            await running


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - the state of a server is no event
            await asyncio.sleep(0.01)


async def deaf(port: int) -> socket.socket:
    """A client that has shaken hands and reads no more."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, HANDSHAKE)
    assert (await loop.sock_recv(client, 12)) == b"HTTP/1.1 101"
    return client


async def test_who_answers_no_ping_is_cut_off():
    app = Talker()
    async with serving(app, ping_wait_s=0.2) as (server, port):
        with await deaf(port):
            await until(app.ended.is_set)
            await until(lambda: not server.server_state.connections)


@pytest.mark.parametrize("last", [b"", FAREWELL])
async def test_who_does_not_read_does_not_keep_a_server_from_stopping(last: bytes):
    app = Talker()
    async with serving(app, ping_wait_s=None) as (server, port):
        with await deaf(port) as client:
            (connection,) = server.server_state.connections
            await until(lambda: app.said and not connection.writable.is_set())
            if last:
                client.send(last)
                await until(lambda: connection.conn.close_rcvd)
            server.should_exit = True
            await until(app.ended.is_set)
            await until(lambda: not server.server_state.connections)
