"""What ``turnlog bench`` measures: a simulator and a Turnlog of its own, as real processes.

All of it lives in a folder that is thrown away and ends with the supervisor that is passed in.
"""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from services import clock, settings
from services.bench.load import BenchFailed
from services.cli import address
from services.cli.probe import wait_for_answer
from services.cli.supervisor import Program, Supervisor
from services.cli.up import LOOPBACK, free_port

START_WAIT_S = 60.0
STOP_WAIT_S = 10.0
POLL_S = 0.05
LOG_FILE = "bench.log"
"""File of the folder everything started writes to."""
_LINES_SHOWN = 20


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls go; URLs of HTTP end in ``/v1``."""

    url: str
    direct_url: str | None
    nats_url: str | None = None


@asynccontextmanager
async def supervised(folder: Path) -> AsyncIterator[Supervisor]:
    """A supervisor whose programs end when the block does; failures show the log's last lines."""
    supervisor = Supervisor(stop_wait_s=STOP_WAIT_S)
    try:
        yield supervisor
    except BenchFailed as error:
        raise BenchFailed(f"{error.message}{_last_lines(folder / LOG_FILE)}") from error
    except BrokenPipeError as error:
        # click takes it for a reader of our output who has left, and ends without a word.
        raise BenchFailed(f"a connection broke{_last_lines(folder / LOG_FILE)}") from error
    finally:
        await supervisor.stop()


async def start(supervisor: Supervisor, folder: Path) -> Servers:
    """Start a simulator, then `turnlog up` with it as its model, and wait until both serve."""
    direct_url = await simulator(supervisor, folder)
    # A compaction in the middle would be another thing to measure.
    return await turnlog(supervisor, folder, MODEL_URL=direct_url, TOKENS_BUDGET="0")


async def simulator(supervisor: Supervisor, folder: Path) -> str:
    """Start a simulator; its URL once it serves."""
    port = free_port()
    await supervisor.start(
        program(
            "simulator",
            ("services.simulator", "--host", LOOPBACK, "--port", str(port)),
            folder=folder,
            stop_order=1,
        )
    )
    await wait_for_answer(LOOPBACK, port, "/v1/models", wait_s=START_WAIT_S)
    return f"http://{LOOPBACK}:{port}/v1"


async def turnlog(supervisor: Supervisor, folder: Path, **variables: str) -> Servers:
    """Start `turnlog up` with these settings, of which one is MODEL_URL; wait until it serves."""
    directory = folder / "data"
    given = {"DATA_DIR": str(directory), "PORT": "0", "MODEL_KEY": "simulator", **variables}
    up = await supervisor.start(
        program("up", ("services.cli", "up"), folder=folder, variables=given)
    )
    where = address.Address(data_dir=str(directory))
    url = await _published(up, where)
    return Servers(
        url=f"{url}/v1", direct_url=variables["MODEL_URL"], nats_url=address.nats_url(where)
    )


def program(
    name: str,
    command: tuple[str, ...],
    *,
    folder: Path,
    variables: dict[str, str] | None = None,
    stop_order: int = 0,
) -> Program:
    """A module of ours as a process that knows no settings but ``variables`` (without prefix).

    Its output goes to the folder's log.
    """
    kept = {
        variable: value
        for variable, value in settings.inherited().items()
        if not variable.startswith(settings.PREFIX) and variable != "OPENAI_API_KEY"
    }
    given = {settings.PREFIX + field: value for field, value in (variables or {}).items()}
    # The shell only opens the file: it is replaced by the program, which keeps its process id.
    redirected = ("/bin/sh", "-c", 'exec "$@" >>"$0" 2>&1', str(folder / LOG_FILE))
    return Program(
        name=name,
        argv=(*redirected, sys.executable, "-P", "-m", *command),
        environment=kept | given,
        stop_order=stop_order,
    )


async def _published(up: Process, where: address.Address) -> str:
    deadline = clock.monotonic() + START_WAIT_S
    while clock.monotonic() < deadline:
        if up.returncode is not None:
            raise BenchFailed(f"turnlog up ended with status {up.returncode}")
        try:
            return address.http_url(where)
        except address.NotRunning:
            await asyncio.sleep(POLL_S)
    raise BenchFailed(f"turnlog up was not ready within {START_WAIT_S:g} s")


def _last_lines(path: Path) -> str:
    if not path.exists():
        return ""
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join(["; the log's last lines:", *lines[-_LINES_SHOWN:]])
