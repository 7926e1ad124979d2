"""A small ``turnlog up``: a real nats-server and the programs of a test, in a process of its own.

Run as ``python tests/cli/supervised.py DIRECTORY PROGRAMS`` with the programs as JSON; used from
tests through `Running`.
"""

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import msgspec
import structlog

from services import settings, telemetry
from services.cli import data_directory, nats_server
from services.cli.supervisor import Program, Supervisor, supervise

ROOT = Path(__file__).parents[2]
NATS_STOP_ORDER = 9
STOP_WAIT_S = 4.5
"""Seconds after which nobody is waited for any more."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A Python program as a child."""

    name: str
    code: str
    stop_order: int = 0
    checks_settings: bool = False


def polite(name: str, *, stop_order: int = 0) -> Child:
    """A child that writes its name into the file ``stopped`` when it is told to stop."""
    code = f"""
import pathlib, signal, sys
def stop(*_):
    with open("stopped", "a") as file:
        file.write("{name} ")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("{name}.ready").touch()
while True:
    signal.pause()
"""
    return Child(name=name, code=code, stop_order=stop_order)


def deaf(name: str) -> Child:
    """A child that does not hear that it should stop."""
    code = f"""
import pathlib, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("{name}.ready").touch()
while True:
    signal.pause()
"""
    return Child(name=name, code=code)


def until(condition: Callable[[], object], *, wait_s: float = 30.0) -> None:
    """Return once ``condition`` holds; fails after ``wait_s`` seconds."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {wait_s} s"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Running:
    """A process under test and the log lines it has written."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.process = process
        self._log_path = log_path

    @property
    def words(self) -> str:
        """Everything it wrote."""
        return self._log_path.read_text()

    def lines(self, event: str, **fields: object) -> list[dict[str, object]]:
        """Its log lines of ``event`` that have all of ``fields``."""
        found = []
        for text in self.words.splitlines():
            with suppress(json.JSONDecodeError):
                line = json.loads(text)
                if line.get("event") == event and fields.items() <= line.items():
                    found.append(line)
        return found

    def pid(self, name: str) -> int:
        """Process id of the newest process called ``name``."""
        return int(str(self.lines("process.started", name=name)[-1]["pid"]))

    def pids(self) -> list[int]:
        """Process ids of everything it ever started."""
        return [int(str(line["pid"])) for line in self.lines("process.started")]

    def ended(self, *, wait_s: float = 30.0) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(wait_s)


@contextmanager
def running(directory: Path, *argv: str, **variables: str) -> Iterator[Running]:
    """Run ``argv`` in ``directory``; nothing of it is left afterwards."""
    log_path = directory / "words"
    environment = settings.inherited() | {"PYTHONPATH": str(ROOT)} | variables
    with (
        log_path.open("wb") as written,
        subprocess.Popen(
            argv, cwd=directory, env=environment, stdout=written, stderr=written
        ) as process,
    ):
        started = Running(process, log_path)
        try:
            yield started
        finally:
            process.kill()
            for pid in started.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def supervised(directory: Path, *children: Child, port: int = 0) -> Iterator[Running]:
    """This module's own program with ``children``, once all of it has started."""
    given = msgspec.json.encode(children).decode()
    with running(directory, sys.executable, __file__, str(directory), given, str(port)) as started:
        until(lambda: started.lines("all.started") or started.process.poll() is not None)
        yield started


async def _start(supervisor: Supervisor, *, children: list[Child], directory: Path, port: int):
    await nats_server.start(
        supervisor,
        directory=directory,
        port=port,
        program=nats_server.binary(""),
        lock=data_directory.lock(directory),
        stop_order=NATS_STOP_ORDER,
    )
    for child in children:
        await supervisor.start(
            Program(
                name=child.name,
                argv=(sys.executable, "-c", child.code),
                environment=settings.inherited(),
                stop_order=child.stop_order,
                checks_settings=child.checks_settings,
            )
        )
    structlog.get_logger().info("all.started")


def _main(directory: str, children: str, port: str) -> None:
    telemetry.configure(process="supervised", level="info")
    known = msgspec.json.decode(children, type=list[Child])
    start = functools.partial(_start, children=known, directory=Path(directory), port=int(port))
    try:
        asyncio.run(supervise(start, stop_wait_s=STOP_WAIT_S))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit("Aborted!")


if __name__ == "__main__":
    _main(*sys.argv[1:])
