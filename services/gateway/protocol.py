"""How uvicorn speaks HTTP and WebSocket, with an end to every connection."""

import asyncio
from http import HTTPStatus

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

from schemas.http.errors import ApiError, HeadTooLarge, Invalid, TooSlow
from services import ids

log = structlog.get_logger()

CUT_WAIT_S = 0.5
"""Seconds a client is given to take what is on its way once the connection is over."""


HEAD_BYTES_MAX = 64 * 1024
"""Bytes of a request before its body: its line and its headers."""


class HttpProtocol(HttpToolsProtocol):
    """Cuts off who takes nothing of an answer for ``client_wait_s`` seconds.

    And who takes longer to say what is wanted, however slowly, or says too much of it: of what
    comes before a body nothing is told to the application until it is complete.
    """

    client_wait_s: float
    _unsent = 0
    _watch: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True
    _head_watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has come."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's is narrower
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request, or of several."""
        if not self._in_head:
            super().data_received(data)
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head:
            return
        # Not even now; most come at once, and cost no timer.
        if self._head_bytes > HEAD_BYTES_MAX:
            log.info("client.cut", head_bytes=self._head_bytes)
            self._refuse(HeadTooLarge())
        elif self._head_bytes and self._head_watch is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """All of what comes before a body is there."""
        self._in_head = False
        self._await_head_no_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is another request."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as everything else is answered."""
        self._refuse(Invalid(msg))

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
        self._await_head_no_more()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_watch = self.loop.call_later(self.client_wait_s, self._head_late)

    def _await_head_no_more(self) -> None:
        if self._head_watch is not None:
            self._head_watch.cancel()
            self._head_watch = None

    def _head_late(self) -> None:
        log.info("client.cut", head_bytes=self._head_bytes, wait_s=self.client_wait_s)
        if self._head_bytes:
            self._refuse(TooSlow("The request did not come in time."))
        else:
            self.transport.close()

    def _refuse(self, refused: ApiError) -> None:
        """Answer what the application is never told of, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            # Else it would stand in the middle of another answer.
            body = refused.body()
            head = (
                f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
                f"x-request-id: req_{ids.unique()}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

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
