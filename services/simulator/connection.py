"""The server's side of a connection, which an application may cut before it has answered at all."""

import uvicorn.protocols.http.httptools_impl as httptools
from starlette.types import Scope

CUT = "simulator.cut"


class Connection(httptools.HttpToolsProtocol):
    """uvicorn's own, which tells the application how to cut it."""

    def on_message_begin(self) -> None:
        """As the protocol says."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"now": self.transport.abort}}


def cut(scope: Scope) -> None:
    """Cut the connection of a request; its client is gone after that."""
    scope["extensions"][CUT]["now"]()
