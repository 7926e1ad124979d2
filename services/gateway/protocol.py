"""How uvicorn speaks HTTP and WebSocket, with an end to every connection."""

import asyncio

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

log = structlog.get_logger()

CUT_WAIT_S = 0.5
"""Seconds a client is given to take what is on its way once the connection is over."""


class HttpProtocol(HttpToolsProtocol):
    """Cuts off who takes nothing of an answer for ``client_wait_s`` seconds."""

    client_wait_s: float
    _unsent = 0
    _watch: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """More is on its way than the client takes."""
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """The client has taken it."""
        super().resume_writing()
        self._look_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._look_no_more()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._watch = self.loop.call_later(self.client_wait_s, self._look)

    def _look(self) -> None:
        if self.transport.get_write_buffer_size() < self._unsent:
            self._look_again()
        else:
            log.info("client.cut", unsent_bytes=self._unsent, wait_s=self.client_wait_s)
            self.transport.abort()

    def _look_no_more(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def http_protocol(*, client_wait_s: float) -> type[HttpProtocol]:
    """The protocol with its limit: uvicorn makes one for each connection by itself."""
    return type("HttpProtocol", (HttpProtocol,), {"client_wait_s": client_wait_s})


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Cuts off who does not read: what is still to be sent would wait for ever to be taken."""

    _stopping = False

    def handle_ping(self) -> None:
        """A ping; who does not read is sent no answers to add to what waits for him."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """No answer to a ping."""
        super().keepalive_timeout()
        self._cut_soon()

    def shutdown(self) -> None:
        """The server stops."""
        self._stopping = True
        if self.handshake_complete and self.conn.state is OPEN and self.writable.is_set():
            # The application ends it, when it has told what has begun.
            return
        if self.handshake_complete:
            # The client has just said farewell, or been told it: a second one would be an error.
            self.transport.close()
        else:
            super().shutdown()
        self._cut_soon()

    async def run_asgi(self) -> None:
        """The application, from the handshake to its end."""
        await super().run_asgi()
        self._cut_soon(after_s=0 if self._stopping else self.close_timeout)

    def _cut_soon(self, *, after_s: float = 0) -> None:
        self.loop.call_later(after_s + CUT_WAIT_S, self.transport.abort)
