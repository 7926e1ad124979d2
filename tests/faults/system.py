"""Everything a harness may kill: one ``turnlog up``, a responder and a gateway beside it."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import httpx2
import msgspec

from services.cli.up import free_port
from tests.whole.running import Child, Received, Running, marked, until

SERVES_WAIT_S = 60.0
CALLS_MORE = 50
"""Requests read again beside those that are new, since some come meanwhile."""


class Besides(msgspec.Struct):
    """A process of ours that nobody but us starts again."""

    process: str
    variables: dict[str, str]
    child: Child | None = None


class System:
    """The processes, at the same addresses however often they are started again."""

    def __init__(self, directory: Path, *, responders: int = 2, **variables: str) -> None:
        """``responders`` of them, and two gateways; ``variables`` are settings."""
        self.faults = directory / "faults"
        self.faults.mkdir(parents=True)
        given = {"faults": str(self.faults), "keep_alive_s": "2", **variables}
        first, second = str(free_port()), str(free_port())
        self.running = Running(directory, port=first, nats_port=str(free_port()), **given)
        self.besides = {"gateway-2": Besides("gateway", {**given, "port": second})}
        for number in range(2, responders + 1):
            self.besides[f"responder-{number}"] = Besides("responder", given)
        self.urls = (f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}")
        self.bodies: dict[int, bytes] = {}

    def start(self) -> "System":
        """Start all of it and wait until it serves."""
        self.running.start()
        self.keep()
        self.healthy()
        return self

    def keep(self) -> int:
        """Start again what died and nobody else starts; how many that were."""
        started = 0
        for beside in self.besides.values():
            if beside.child is None or beside.child.process.poll() is not None:
                beside.child = self.running.beside(beside.process, **beside.variables)
                started += 1
        return started

    def pid(self, name: str) -> int | None:
        """The process called ``name``, if exactly one lives."""
        beside = self.besides.get(name)
        if beside is not None:
            child = beside.child
            return child.process.pid if child and child.process.poll() is None else None
        wanted = f"services.{name}" if name != "nats-server" else "nats-server"
        found = [pid for pid, words in self.running.pids().items() if wanted in words]
        return found[0] if len(found) == 1 else None

    def everything(self) -> None:
        """Kill all of it at once, and start it again."""
        for beside in self.besides.values():
            if beside.child is not None:
                beside.child.process.kill()
        self.running.kill9()
        for beside in self.besides.values():
            if beside.child is not None:
                beside.child.process.wait(30)
        # Nobody would wake what stopped itself while we wait for it to serve.
        self.spare()
        self.running.start()
        self.keep()

    def halted(self) -> list[int]:
        """Processes that are stopped."""
        return [pid for pid in marked(self.running.mark) if _state(pid) == "T"]

    def healthy(self, *, wait_s: float = SERVES_WAIT_S) -> None:
        """Wait until every process serves."""

        def serve() -> bool:
            self.keep()
            return all(map(_serves, self.urls))

        until(serve, wait_s=wait_s)

    def count_calls(self) -> None:
        """Read what the model was sent since the last time, before it forgets it."""
        origin = self.running.simulator_url.removesuffix("/v1")
        total = sum(httpx2.get(f"{origin}/simulator/counts", timeout=30).json().values())
        last = max(self.bodies, default=0)
        limit = total - last + CALLS_MORE
        answer = httpx2.get(f"{origin}/simulator/requests?limit={limit}", timeout=60)
        for received in msgspec.json.decode(answer.content, type=list[Numbered]):
            self.bodies[received.number] = bytes(received.body)
        assert set(self.bodies) == set(range(1, max(self.bodies, default=0) + 1)), "calls forgotten"

    def spare(self) -> None:
        """Let planned faults strike nobody, and all that is stopped go on."""
        for file in self.faults.iterdir():
            file.unlink(missing_ok=True)
        for pid in self.halted():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        """Kill all of it."""
        self.running.end()


class Numbered(Received, frozen=True):
    """A request to the model, and which one it was."""

    number: int


def _serves(url: str) -> bool:
    with suppress(httpx2.TransportError):
        return httpx2.get(f"{url}/healthz", timeout=30).status_code == 200
    return False


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    return ""
