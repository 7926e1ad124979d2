"""Where a test lets a process die or stop: named points in the steps of a turn, or an erasure.

Only tests set ``TURNLOG_FAULTS``, a directory. A fault is a file in it, called ``admitted=kill@3``
for one: of all processes together, whoever is third to pass the point ``admitted`` kills itself.
Each passing renames the file, and the last one removes it: a fault strikes once, however many
processes there are and however often they are started again.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import structlog

from services.settings import Settings, demand

Point: TypeAlias = Literal[
    "accepted",  # the gateway has stored a request on the queue
    "taken",  # a responder was given the request
    "admitted",  # the turn is in the log, the model not called
    "model_called",  # the model has begun to answer, nothing is told
    "told",  # some of the answer was published
    "answered",  # the model is done, the end not in the log
    "ended",  # the end is in the log, the request not acked
    "acked",  # the request is acked, the end not told
]
ErasurePoint: TypeAlias = Literal[
    "erasure_noted",  # the log says that a conversation is erased, and nothing is yet
    "turns_ended",  # its turns have ended, and its requests are off the queue
    "traces_deleted",  # what was kept beside the log is deleted
    "key_destroyed",  # its key is destroyed, and still on disk
    "key_overwritten",  # its key is not there any more
    "commit_removed",  # a commit that was not sealed is gone
]
Action: TypeAlias = Literal["kill", "stop"]

POINTS: tuple[Point, ...] = get_args(Point)
ERASURE_POINTS: tuple[ErasurePoint, ...] = get_args(ErasurePoint)
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

log = structlog.get_logger()

_armed: list[Path] = []
"""The directory of faults; empty in every process that is no test's."""


class FaultSettings(Settings, frozen=True, kw_only=True):
    """Where faults are planned."""

    faults: str = ""

    def __post_init__(self) -> None:
        """A test that plans faults for nobody would prove nothing."""
        if self.faults and not Path(self.faults).is_dir():
            raise ValueError(f"TURNLOG_FAULTS: {self.faults} is no directory")


def arm() -> None:
    """Let this process meet the faults it is to meet; a directory of none ends it with status 2."""
    directory = demand(FaultSettings).faults
    _armed[:] = [Path(directory)] if directory else []


def plan(directory: Path, point: Point | ErasurePoint, action: Action, *, passing: int = 1) -> Path:
    """Let whoever passes ``point`` as number ``passing`` from now on meet a fault.

    The file that is returned, and those it is renamed to, are gone once the fault has struck.
    """
    file = directory / f"{point}={action}@{passing}"
    file.touch(exist_ok=False)
    return file


def planned(directory: Path, point: Point | ErasurePoint) -> list[Path]:
    """Faults that have not struck yet."""
    return list(directory.glob(f"{point}=*@*"))


def point(name: Point | ErasurePoint) -> None:
    """Pass a point. Without a plan, which is always but in tests, nothing happens."""
    for directory in _armed:
        for file in planned(directory, name):
            _pass(file)


async def point_behind(name: Point, sent: Callable[[], Awaitable[None]]) -> None:
    """As `point`, once ``sent`` says that what was sent before has left this process."""
    for directory in _armed:
        if planned(directory, name):
            await sent()
            point(name)


def _pass(file: Path) -> None:
    fault, _, left = file.name.partition("@")
    try:
        if int(left) > 1:
            file.rename(file.with_name(f"{fault}@{int(left) - 1}"))
            return
        file.unlink()
    except FileNotFoundError:
        # Another process was there first, and has counted its own passing.
        return
    name, _, action = fault.partition("=")
    log.warning("fault.struck", point=name, action=action)
    os.kill(os.getpid(), SIGNALS[action])
