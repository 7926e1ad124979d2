"""``turnlog up``: everything on one machine, started in order, kept running, stopped in order."""

import asyncio
import functools
import os
import socket
import sys
from pathlib import Path

import click
import msgspec
import nats.errors
import structlog
from nats.aio.client import Client

from services import settings, telemetry
from services.cli import address, data_directory, nats_server, options
from services.cli.probe import wait_for_answer
from services.cli.supervisor import Program, Supervisor, supervise
from services.gateway.settings import HostExposed, is_loopback
from services.journal import JournalUnavailable, connect, streams
from services.journal import vault as vaults
from services.journal.api_keys import ApiKeys
from services.journal.connect import without_credentials

STOP_ORDER = {
    "gateway": 0,
    "responder": 1,
    "compactor": 1,
    "projector": 2,
    "simulator": 3,
    nats_server.NAME: 4,
}
PROCESSES = ("projector", "compactor", "responder", "gateway")
"""In the order they are started: who answers before who asks."""
LOG_WAIT_S = 5.0
"""Seconds until a server of the log must answer; one elsewhere may be starting with us."""
LOG_INTERVAL_S = 1
READY_WAIT_S = 30.0
"""Seconds until an HTTP server of ours must say it can serve."""
BACKLOG = 2048
"""Connections that may wait while the gateway starts, or starts again."""
LOOPBACK = "127.0.0.1"
_ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - what they are reached at from here
"""Where what listens everywhere is found."""

log = structlog.get_logger()


class UpSettings(settings.Settings, frozen=True, kw_only=True):
    """What ``turnlog up`` itself needs; every other variable goes to the processes as it is."""

    nats_url: str = ""
    """A server elsewhere, or the servers of a cluster; empty runs one here."""
    nats_port: int = 0
    nats_server: str = ""
    """The nats-server to run; empty takes the one of the wheel."""
    host: str = LOOPBACK
    port: int = 8080
    insecure: bool = False
    """Whether other machines may come in without an API key, while there are none."""
    data_dir: str = address.DATA_DIRECTORY
    model_url: str = ""
    model_key: str = ""
    stop_wait_s: float = 4.5
    """Seconds the stop of everything together may take."""


class AddressUnusable(click.ClickException):
    """Nothing can listen where it was asked to."""


class AddressExposed(click.ClickException):
    """Other machines could reach a server that asks nobody for a key."""

    exit_code = 2

    def __init__(self, host: str) -> None:
        super().__init__(str(HostExposed(host)))


class LogUnavailable(click.ClickException):
    """The server of the log cannot be reached or refuses our streams."""


@click.command(
    epilog="""\b
Examples:
  turnlog up                                   everything, with a simulated model
  OPENAI_API_KEY=... turnlog up                everything, with OpenAI's models
  turnlog up --model-url http://gpu:8000/v1 --model-api chat
  turnlog up --port 0 --data-dir /tmp/trial    on a free port; see /tmp/trial/http-url
  turnlog up --nats-url nats://token@queue:4222
  turnlog up --nats-url nats://token@a:4222,nats://token@b:4222,nats://token@c:4222 --replicas 3
"""
)
@options.host
@options.port
@options.insecure
@options.setting(
    "nats_port", "Port of the log; 0 takes a free one.", kind=options.PORT, default="0"
)
@options.setting(
    "nats_url", "Server of the log, commas between those of a cluster.", default="an embedded one"
)
@options.nats_tls
@options.replicas
@options.data_dir
@options.model
@options.tokens_budget
@options.strict
@options.log_level
def up() -> None:
    """Start everything on this machine and stay up until Ctrl-C."""
    wanted = settings.read(UpSettings)
    telemetry.configure(process="up", level=wanted.log_level)
    family, host = resolved(wanted.host)
    exposed = not (wanted.insecure or is_loopback(host))
    directory = Path(wanted.data_dir).resolve()
    if exposed and not wanted.nats_url and not nats_server.has_begun(directory):
        raise AddressExposed(wanted.host)
    lock = data_directory.lock(directory)
    with bound(host, wanted.port, family=family) as door:
        start = functools.partial(_start, wanted=wanted, directory=directory, lock=lock, door=door)
        _forget_addresses(directory)  # those of a start that was killed
        try:
            asyncio.run(supervise(start, stop_wait_s=wanted.stop_wait_s))
        finally:
            _forget_addresses(directory)


def _forget_addresses(directory: Path) -> None:
    for name in (address.NATS_URL_FILE, address.HTTP_URL_FILE):
        (directory / name).unlink(missing_ok=True)


def resolved(host: str) -> tuple[socket.AddressFamily, str]:
    """Family and number of ``host``."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise AddressUnusable(f"--host {host}: {error.strerror}") from error
    return family, str(where[0])


def bound(host: str, port: int, *, family: socket.AddressFamily) -> socket.socket:
    """A socket for the gateway, which does not listen yet.

    We keep it while gateways come and go: clients wait in its queue meanwhile, and are not refused.
    """
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind((host, port))
    except OSError as error:
        door.close()
        reason = os.strerror(error.errno or 0)
        raise AddressUnusable(
            f"cannot listen on {host}:{port}: {reason} (--port 0 takes a free one)"
        ) from error
    return door


async def _start(
    supervisor: Supervisor,
    *,
    wanted: UpSettings,
    directory: Path,
    lock: int,
    door: socket.socket,
) -> None:
    if wanted.nats_url:
        data_directory.write_private(directory / address.NATS_URL_FILE, wanted.nats_url)
        nats_url = wanted.nats_url
    else:
        nats_url = await nats_server.start(
            supervisor,
            directory=directory,
            port=wanted.nats_port,
            program=nats_server.binary(wanted.nats_server),
            lock=lock,
            stop_order=STOP_ORDER[nats_server.NAME],
        )
    keys = await _declare_streams(nats_url, wanted)
    host, port = door.getsockname()[:2]
    if not (keys or wanted.insecure or is_loopback(host)):
        raise AddressExposed(wanted.host)
    door.listen(BACKLOG)
    openai_key = settings.inherited().get("OPENAI_API_KEY", "")
    with_model = with_real_model(wanted, openai_key=openai_key)
    given = msgspec.structs.replace(
        with_model or await _with_simulator(supervisor, wanted, lock=lock),
        nats_url=nats_url,
        data_dir=str(directory),
        host=host,
        port=port,
        stop_wait_s=wanted.stop_wait_s / len(set(STOP_ORDER.values())),
    )
    for name in PROCESSES:
        await supervisor.start(program(name, given=given, lock=lock, door=door))
    host = _ANY.get(host, host)
    await wait_for_answer(host, port, "/healthz", wait_s=READY_WAIT_S)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    data_directory.write_private(directory / address.HTTP_URL_FILE, url)
    log.info(
        "up.ready",
        url=url,
        nats_url=without_credentials(nats_url),
        data_dir=str(directory),
        model=without_credentials(given.model_url) if given.model_url else "openai",
        sync="unknown" if wanted.nats_url else "always",
    )


async def _declare_streams(nats_url: str, wanted: UpSettings) -> bool:
    """Make the log what it should be; whether there was ever an API key."""
    client = Client()
    faults: list[Exception] = []

    async def note(fault: Exception) -> None:
        faults.append(fault)

    try:
        async with asyncio.timeout(LOG_WAIT_S):
            await client.connect(
                connect.servers(nats_url),
                name="turnlog up",
                inbox_prefix=connect.inbox_prefix("cli"),
                **connect.secured(wanted.tls()),
                allow_reconnect=False,
                reconnect_time_wait=LOG_INTERVAL_S,
                error_cb=note,
            )
        await streams.declare(
            client,
            chosen=wanted,
            wait_s=streams.DECLARE_S_MAX if wanted.replicas > 1 else LOG_WAIT_S,
        )
        # Once for all processes: none of them goes on without the keys of what is encrypted.
        await vaults.opened(client, wanted)
        return bool(await ApiKeys(client, wait_s=LOG_WAIT_S).all())
    except (OSError, TimeoutError, nats.errors.Error, JournalUnavailable) as error:
        reason = faults[-1] if faults else str(error) or repr(error)
        raise LogUnavailable(f"the log at {without_credentials(nats_url)}: {reason}") from error
    finally:
        await client.close()


def with_real_model(wanted: UpSettings, *, openai_key: str) -> UpSettings | None:
    """``wanted`` with the model it names, or OpenAI's if there is a key; none if there is neither.

    ``openai_key`` is sent to OpenAI and nowhere else.
    """
    if wanted.model_url:
        return wanted
    if wanted.model_key or openai_key:
        return msgspec.structs.replace(wanted, model_key=wanted.model_key or openai_key)
    return None


async def _with_simulator(supervisor: Supervisor, wanted: UpSettings, *, lock: int) -> UpSettings:
    log.warning(
        "model.simulated",
        hint="answers are made up: set OPENAI_API_KEY, or name a model with --model-url",
    )
    port = free_port()
    await supervisor.start(
        Program(
            name="simulator",
            argv=_python("simulator", "--host", LOOPBACK, "--port", str(port)),
            environment=settings.inherited(),
            stop_order=STOP_ORDER["simulator"],
            inherited_files=(lock,),
            checks_settings=True,
        )
    )
    await wait_for_answer(LOOPBACK, port, "/v1/models", wait_s=READY_WAIT_S)
    url = f"http://{LOOPBACK}:{port}/v1"
    return msgspec.structs.replace(wanted, model_url=url, model_key="simulator")


def program(name: str, *, given: UpSettings, lock: int, door: socket.socket) -> Program:
    """One of `PROCESSES` with the settings ``given`` and every variable we were started with."""
    variables = settings.inherited() | settings.environment(given)
    files = [lock]
    if name == "gateway":
        variables |= {f"{settings.PREFIX}SOCKET_FD": str(door.fileno())}
        files.append(door.fileno())
    return Program(
        name=name,
        argv=_python(name),
        environment=variables,
        stop_order=STOP_ORDER[name],
        inherited_files=tuple(files),
        checks_settings=True,
    )


def _python(process: str, *arguments: str) -> tuple[str, ...]:
    """The command of a process; ``-P`` keeps the current directory from being imported from."""
    return (sys.executable, "-P", "-m", f"services.{process}", *arguments)


def free_port() -> int:
    """A port of loopback nothing listens on now."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        return int(taken.getsockname()[1])
