"""The directory ``turnlog up`` keeps everything in; one process group at a time may use it.

nats-server takes no lock on its store, so two of them on one directory would both acknowledge.
Ours does, by an open file that every child inherits: while any process of an earlier start lives,
the directory stays taken.
"""

import fcntl
import os
import tempfile
import time
from pathlib import Path

import click

from services import clock

LOCK_WAIT_S = 1.0
"""Seconds the children of a killed predecessor are given to follow it."""


class DirectoryInUse(click.ClickException):
    """Another process group holds the data directory."""

    def __init__(self, directory: Path, *, pid: str) -> None:
        super().__init__(f"data directory {directory} is in use by process {pid} or a child of it")


class DirectoryUnusable(click.ClickException):
    """The data directory cannot be made or written."""

    def __init__(self, directory: Path, *, reason: str) -> None:
        super().__init__(f"data directory {directory} cannot be used: {reason}")


def lock(directory: Path) -> int:
    """Take ``directory`` for this process and return the open file that holds it.

    Hand the file to every child (``pass_fds``). The lock ends when the last of them has ended.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DirectoryUnusable(directory, reason=error.strerror or str(error)) from error
    deadline = clock.monotonic() + LOCK_WAIT_S
    while not _taken(held):
        if clock.monotonic() > deadline:
            pid = os.pread(held, 200, 0).decode()
            os.close(held)
            raise DirectoryInUse(directory, pid=pid)
        time.sleep(0.02)
    os.truncate(held, 0)
    os.pwrite(held, str(os.getpid()).encode(), 0)
    return held


def _taken(held: int) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_private(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` in one step, readable by this user alone."""
    written, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(written, "w") as file:
        file.write(text)
    Path(name).replace(path)
