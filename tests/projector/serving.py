"""A real nats-server, and the projector on it: in this process, or in one of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import nats.errors
from nats.aio.client import Client

from schemas import subjects
from schemas.queries import Health, Sql, SqlAnswer
from services import settings
from services.journal import streams
from services.projector import app
from services.projector.generations import Generations
from services.projector.settings import ProjectorSettings

BINARIES = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
WAIT_S = 30.0


class Server:
    """nats-server on a free port, which it keeps when it is started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = -1
        self.url = ""

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                BINARIES / "nats-server",
                *("-js", "-sd", self._directory / "store", "-a", "127.0.0.1"),
                *("-p", str(self._port), "--ports_file_dir", self._directory),
                *("-l", self._directory / "log"),
            ]
        )
        ports = self._directory / f"nats-server_{self._process.pid}.ports"
        until(lambda: ports.exists() and ports.read_text().endswith("}"))
        self.url = json.loads(ports.read_text())["nats"][0]
        self._port = int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def until(condition: Callable[[], object], *, wait_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {wait_s} s"
        time.sleep(0.005)


async def eventually(condition: Callable[[], object], *, wait_s: float = WAIT_S) -> None:
    """As `until`, while this loop goes on."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {wait_s} s"
        await asyncio.sleep(0.005)


async def until_health(
    client: Client, condition: Callable[[Health], object], *, wait_s: float = WAIT_S
) -> Health:
    """What the projector says of itself, once ``condition`` holds for it."""
    async with asyncio.timeout(wait_s):
        while True:
            with suppress(nats.errors.NoRespondersError, nats.errors.TimeoutError):
                answer = await client.request(subjects.ask_health("projector"), timeout=1)
                health = msgspec.json.decode(answer.data, type=Health)
                if condition(health):
                    return health
            await asyncio.sleep(0.005)


async def made_anew(client: Client) -> None:
    """Let the log be a new one, without messages.

    A server under load may find files of the old one, whose deletion it has acknowledged.
    """
    stream = client.jetstream()
    last_sequence = 1
    while last_sequence:
        await streams.declare(client)
        await stream.delete_stream(subjects.CONVERSATIONS)
        await streams.declare(client)
        last_sequence = (await stream.stream_info(subjects.CONVERSATIONS)).state.last_seq


async def ask(client: Client, statement: str, **fields: object) -> SqlAnswer:
    question = msgspec.convert({"statement": statement, **fields}, Sql)
    answer = await client.request(subjects.ask("sql"), msgspec.json.encode(question), timeout=30)
    return msgspec.json.decode(answer.data, type=SqlAnswer)


def settings_for(server: Server, directory: Path) -> ProjectorSettings:
    return ProjectorSettings(nats_url=server.url, data_dir=str(directory))


@asynccontextmanager
async def projecting(used: ProjectorSettings) -> AsyncIterator[Generations]:
    """The projector, in this process."""
    async with app.opened(used) as views:
        running = asyncio.create_task(views.run())
        try:
            yield views
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@contextmanager
def process(used: ProjectorSettings, words: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The projector in a process of its own; what it says is added to the file ``words``."""
    environment = settings.inherited() | settings.environment(used)
    with (
        words.open("ab") as written,
        subprocess.Popen(
            [sys.executable, "-m", "services.projector"],
            cwd=ROOT,
            env=environment,
            stderr=written,
            stdout=written,
        ) as started,
    ):
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):
                os.kill(started.pid, signal.SIGKILL)


@contextmanager
def held(code: str) -> Iterator[None]:
    """Another process that has run ``code`` and now waits."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}\nprint('done', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"done\n"
        try:
            yield
        finally:
            started.kill()
