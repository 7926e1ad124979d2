"""Keeps programs running until they are told to stop, and lets none of them outlive this process.

A child is its own session, so a terminal's Ctrl-C reaches only us and the order of the stop is
ours. Linux kills a child when the *thread* that made it ends: `Supervisor` belongs to the main one.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import click
import msgspec
import structlog

from services import clock

RESTART_WAIT_S_MIN = 0.1
RESTART_WAIT_S_MAX = 5.0
HEALTHY_S = 10.0
"""Seconds after which a program counts as well, and its next restart as its first."""
SETTINGS_UNUSABLE = 2
"""Exit status of a process that cannot use its settings."""
PR_SET_PDEATHSIG = 1
"""Linux, include/uapi/linux/prctl.h."""

log = structlog.get_logger()


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and how it ends."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    stop_order: int
    """Lower ones are stopped first, equal ones together."""
    inherited_files: tuple[int, ...] = ()
    """Open files of ours the child may use, under the same numbers."""
    checks_settings: bool = False
    """Whether its exit status 2 means `SETTINGS_UNUSABLE`; a Go program's panic has that status."""


class ProgramGaveUp(click.ClickException):
    """A program says that it cannot use its settings, so starting it again would only repeat it."""

    exit_code = SETTINGS_UNUSABLE

    def __init__(self, program: Program) -> None:
        super().__init__(f"{program.name} cannot use its settings: its own words are above")


class Supervisor:
    """Programs by name, each started again whenever it ends before its time."""

    def __init__(self, *, stop_wait_s: float) -> None:
        """``stop_wait_s``: seconds the whole stop may take before what is left is killed."""
        self._stop_wait_s = stop_wait_s
        self._programs: dict[str, Program] = {}
        self._processes: dict[str, Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._given_up: asyncio.Future[Program] = asyncio.get_running_loop().create_future()

    async def start(self, program: Program) -> Process:
        """Run ``program`` from now on; returns its first process."""
        process = await self._spawn(program)
        self._programs[program.name] = program
        self._keepers[program.name] = asyncio.create_task(self._keep(program, process))
        return process

    async def given_up(self) -> Program:
        """The first program that could not use its settings; waits for ever if none does."""
        return await asyncio.shield(self._given_up)

    async def stop(self) -> None:
        """End every program in order.

        Each order has an equal share of the time, and what is left of the shares before it.
        """
        self._stopping.set()
        begun = clock.monotonic()
        orders = sorted({program.stop_order for program in self._programs.values()})
        for index, order in enumerate(orders, start=1):
            names = [name for name, known in self._programs.items() if known.stop_order == order]
            deadline = begun + self._stop_wait_s * index / len(orders)
            await self._stop_together(names, wait_s=max(0.0, deadline - clock.monotonic()))
        await asyncio.gather(*self._keepers.values())

    def kill(self) -> None:
        """End every program at once, without a chance to finish anything."""
        self._stopping.set()
        self._signal(self._processes, signal.SIGKILL)

    async def _stop_together(self, names: list[str], *, wait_s: float) -> None:
        self._signal(names, signal.SIGTERM)
        keepers = {self._keepers[name]: name for name in names}
        _, late = await asyncio.wait(keepers, timeout=wait_s)
        if late:
            late_names = [keepers[keeper] for keeper in late]
            log.warning("process.killed", names=late_names, wait_s=round(wait_s, 3))
            self._signal(late_names, signal.SIGKILL)
            await asyncio.wait(late)

    def _signal(self, names: Iterable[str], number: signal.Signals) -> None:
        for name in names:
            with contextlib.suppress(ProcessLookupError):
                self._processes[name].send_signal(number)

    async def _keep(self, program: Program, process: Process) -> None:
        restarts = 0
        current: Process | None = process
        while True:
            if current is not None:
                begun = clock.monotonic()
                status = await current.wait()
                lived_s = clock.monotonic() - begun
                self._log_exit(program, status=status, lived_s=lived_s)
                if program.checks_settings and status == SETTINGS_UNUSABLE:
                    if not self._given_up.done():
                        self._given_up.set_result(program)
                    return
                restarts = 0 if lived_s >= HEALTHY_S else restarts
            if await self._stopped_within(restart_wait_s(restarts)):
                return
            restarts += 1
            current = await self._restart(program, restarts=restarts)

    def _log_exit(self, program: Program, *, status: int, lived_s: float) -> None:
        ended = log.info if self._stopping.is_set() else log.warning
        ended("process.exited", name=program.name, status=status, lived_s=round(lived_s, 3))

    async def _restart(self, program: Program, *, restarts: int) -> Process | None:
        """The new process; none, with a log line, if the machine has none to give now."""
        try:
            process = await self._spawn(program)
        except OSError:
            log.exception("process.refused", name=program.name, restarts=restarts)
            return None
        log.warning("process.restarted", name=program.name, pid=process.pid, restarts=restarts)
        return process

    async def _stopped_within(self, wait_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait_s)
        return self._stopping.is_set()

    async def _spawn(self, program: Program) -> Process:
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            env=program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=program.inherited_files,
            start_new_session=True,
            preexec_fn=_tie_to_parent(),
        )
        self._processes[program.name] = process
        if self._stopping.is_set():
            self._signal([program.name], signal.SIGTERM)
        log.info("process.started", name=program.name, pid=process.pid)
        return process


Start = Callable[[Supervisor], Coroutine[Any, Any, None]]
"""Starts programs one after another, waiting for each to be ready where others need it."""


async def supervise(start: Start, *, stop_wait_s: float) -> None:
    """Run ``start`` and keep what it starts until SIGINT or SIGTERM, then stop it in order.

    A second signal kills everything at once. An error of ``start``, or a program that gave up, ends
    it the same way and is raised afterwards.
    """
    supervisor = Supervisor(stop_wait_s=stop_wait_s)
    told = asyncio.Event()
    killed = asyncio.Event()

    def tell(number: signal.Signals) -> None:
        log.info("stop.requested", signal=number.name)
        if told.is_set():
            killed.set()
            supervisor.kill()
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, tell, number)
    starting = asyncio.create_task(start(supervisor))
    gave_up = asyncio.create_task(supervisor.given_up())
    asked = asyncio.create_task(told.wait())
    waits: list[asyncio.Task[Any]] = [starting, gave_up, asked]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await asyncio.wait([gave_up, asked], return_when=asyncio.FIRST_COMPLETED)
        if gave_up.done():
            raise ProgramGaveUp(gave_up.result())
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await supervisor.stop()
    if killed.is_set():
        raise click.Abort


def restart_wait_s(restarts: int) -> float:
    """Seconds before the restart after ``restarts`` others: 0.1, 0.2, 0.4 … 5.0."""
    return min(RESTART_WAIT_S_MIN * 2.0 ** min(restarts, 10), RESTART_WAIT_S_MAX)


def _tie_to_parent() -> Callable[[], None] | None:
    """What a child runs first so that it is killed when we die, however we die.

    Elsewhere than on Linux nothing does that: there a kill -9 of the parent leaves children behind,
    and the lock they hold keeps a second start off their data.
    """
    if sys.platform != "linux":
        return None
    # Looked up before the fork: the child may only make system calls.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return tie
