"""How uvicorn speaks WebSocket, with an end to every connection."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

CUT_WAIT_S = 0.5
"""Seconds a client is given to take what is on its way once the connection is over."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Cuts off who does not read: what is still to be sent would wait for ever to be taken."""

    def keepalive_timeout(self) -> None:
        """No answer to a ping."""
        super().keepalive_timeout()
        self._cut_soon()

    def shutdown(self) -> None:
        """The server stops."""
        if self.handshake_complete and self.conn.state is not OPEN:
            # The client has just said farewell, or been told it: a second one would be an error.
            self.transport.close()
        else:
            super().shutdown()
        self._cut_soon()

    async def run_asgi(self) -> None:
        """The application, from the handshake to its end."""
        await super().run_asgi()
        self._cut_soon(after_s=self.close_timeout)

    def _cut_soon(self, *, after_s: float = 0) -> None:
        self.loop.call_later(after_s + CUT_WAIT_S, self.transport.abort)
