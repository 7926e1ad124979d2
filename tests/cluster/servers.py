"""Three nats-servers on loopback, run with the configuration that is shipped."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError

from services.cli.up import free_port
from services.journal.connect import options
from tests.whole.running import ROOT, SESSION, Child, until

SERVER = str(Path(sys.executable).parent / "nats-server")
CONFIGURATION = ROOT / "deploy" / "nats-cluster.conf"
SIZE = 3

T = TypeVar("T")


class Cluster:
    """The servers by their index; each keeps its ports and its directory."""

    def __init__(self, directory: Path) -> None:
        """Nothing runs yet."""
        self.directory = directory
        self.mark = f"{SESSION}-{secrets.token_hex(4)}"
        self._ports = [free_port() for _ in range(SIZE)]
        self._token = f"t{secrets.token_hex(8)}"
        password = f"p{secrets.token_hex(8)}"
        routes = [free_port() for _ in range(SIZE)]
        self._environments = [
            {
                "NATS_NAME": f"server-{index}",
                "NATS_LISTEN": f"127.0.0.1:{port}",
                "NATS_STORE": str(directory / f"server-{index}"),
                "NATS_TOKEN": self._token,
                "NATS_ROUTES_LISTEN": f"127.0.0.1:{routes[index]}",
                "NATS_ROUTES_PASSWORD": password,
                **{
                    f"NATS_ROUTE_{number}": f"nats-route://turnlog:{password}@127.0.0.1:{route}"
                    for number, route in enumerate(routes, start=1)
                },
            }
            for index, port in enumerate(self._ports)
        ]
        self._children: list[Child | None] = [None] * SIZE

    @property
    def url(self) -> str:
        """All of them, as `TURNLOG_NATS_URL` names them."""
        return ",".join(map(self.url_of, range(SIZE)))

    def url_of(self, index: int) -> str:
        """One of them."""
        return f"nats://{self._token}@127.0.0.1:{self._ports[index]}"

    def start(self, index: int) -> None:
        """Run a server that does not."""
        assert self._children[index] is None
        log_path = self.directory / f"server-{index}.log"
        self._children[index] = Child(
            log_path, self.mark, SERVER, "-c", str(CONFIGURATION), **self._environments[index]
        )

    def check(self, index: int) -> int:
        """What the server says of its configuration: 0 if that is good."""
        log_path = self.directory / f"check-{index}.log"
        argv = (SERVER, "-t", "-c", str(CONFIGURATION))
        return Child(log_path, self.mark, *argv, **self._environments[index]).process.wait(10)

    def kill(self, index: int) -> None:
        """End a server as a crash does."""
        child = self._children[index]
        assert child is not None
        child.end(signal.SIGKILL)
        self._children[index] = None

    def send(self, index: int, number: signal.Signals) -> None:
        """Signal a server: `SIGSTOP` makes it one that hangs."""
        child = self._children[index]
        assert child is not None
        os.kill(child.process.pid, number)

    def end(self) -> None:
        """Kill whatever runs."""
        for index, child in enumerate(self._children):
            if child is not None:
                self.kill(index)

    def leader(self, stream: str, *, wait_s: float = 30.0) -> int:
        """Index of the server that leads a stream now."""
        return until(lambda: self._led_by(stream), wait_s=wait_s) - 1

    def _led_by(self, stream: str) -> int:
        async def ask(client: Client) -> int:
            info = await client.jetstream(timeout=1).stream_info(stream)
            name = info.cluster.leader if info.cluster else None
            return int(name.removeprefix("server-")) + 1 if name else 0

        try:
            return self.on(ask)
        except (TimeoutError, JetStreamError):
            return 0

    def current(self, stream: str) -> bool:
        """Whether every server has all of a stream."""

        async def ask(client: Client) -> bool:
            info = await client.jetstream(timeout=1).stream_info(stream)
            peers = (info.cluster.replicas if info.cluster else None) or []
            return len(peers) == SIZE - 1 and all(
                peer.current and not peer.offline and not peer.lag for peer in peers
            )

        try:
            return self.on(ask)
        except (TimeoutError, JetStreamError):
            return False

    def on(self, work: Callable[[Client], Awaitable[T]], *, url: str = "") -> T:
        """What ``work`` returns on a connection to one of the servers."""

        async def run() -> T:
            client = Client()
            await client.connect(**options(url or self.url, name="test"))
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(run())


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Three servers that run."""
    made = Cluster(directory)
    try:
        for index in range(SIZE):
            made.start(index)
        yield made
    finally:
        made.end()
