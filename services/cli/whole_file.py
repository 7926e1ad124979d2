"""Files that are there with all that belongs into them, or as they were before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial"
"""How the names end of files that are being written; they begin with a dot."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write, which becomes ``path`` if nothing goes wrong, and then survives a crash."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
