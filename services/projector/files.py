"""The files of views in the data directory: the one in use, the one before it, unfinished ones.

Each is called by a number of its own and never renamed, since it may be open; links say which is
which. Only whoever has the one in use open may change any.
"""

import fcntl
import re
from pathlib import Path

CURRENT = "views.duckdb"
"""Link to the file that answers."""
PREVIOUS = "views.previous.duckdb"
"""Link to the one it took the place of, which is kept for a rollback."""

_NUMBERED = re.compile(r"views\.(\d+)\.duckdb")


class ViewsInUse(Exception):
    """Another process has the file open."""


class Files:
    """Those in one directory, which is made if there is none."""

    def __init__(self, directory: Path) -> None:
        """Take a file that bears the name of the link, as once it did, for the first."""
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        link = directory / CURRENT
        if link.exists() and not link.is_symlink():
            refuse_if_in_use(link)
            first = self.fresh()
            # What was not merged yet goes first: without it the file is older, but whole.
            if _log_of(link).exists():
                _log_of(link).rename(_log_of(first))
            link.rename(first)
            self.point(CURRENT, first)

    def named(self, link: str) -> Path | None:
        """The file behind a link."""
        path = self._directory / link
        return path.resolve() if path.exists() else None

    def unfinished(self) -> list[Path]:
        """Those behind no link, newest first."""
        linked = {self.named(CURRENT), self.named(PREVIOUS)}
        return [path for _, path in sorted(self._numbered(), reverse=True) if path not in linked]

    def fresh(self) -> Path:
        """A name that no file has, nor had while any of now was there."""
        newest = max((number for number, _ in self._numbered()), default=0)
        return self._directory.resolve() / f"views.{newest + 1}.duckdb"

    def switch(self, path: Path) -> None:
        """Have ``path`` answer from now on, and keep the one that did."""
        former = self.named(CURRENT)
        if former is not None:
            self.point(PREVIOUS, former)
        self.point(CURRENT, path)

    def forget_previous(self) -> Path | None:
        """Let nobody go back to the one before; its file is no longer behind a link."""
        former = self.named(PREVIOUS)
        (self._directory / PREVIOUS).unlink(missing_ok=True)
        return former

    def point(self, link: str, path: Path) -> None:
        """Lead ``link`` to a file, from one moment to the next."""
        made = self._directory / f"{link}.new"
        made.unlink(missing_ok=True)
        made.symlink_to(path.name)
        made.replace(self._directory / link)

    def _numbered(self) -> list[tuple[int, Path]]:
        # What is open, or has crashed, may consist of its log alone.
        names = {path.name.removesuffix(".wal") for path in self._directory.iterdir()}
        found = filter(None, map(_NUMBERED.fullmatch, names))
        return [(int(name[1]), self._directory.resolve() / name[0]) for name in found]


def remove(path: Path) -> None:
    """Delete a file that nobody has open, and what was not merged into it."""
    path.unlink(missing_ok=True)
    _log_of(path).unlink(missing_ok=True)


def refuse_if_in_use(path: Path) -> None:
    """Raise `ViewsInUse`: DuckDB says so too, but only in words; it takes the same lock.

    Never for a file this process has open: it would lose the lock.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ViewsInUse(f"{path} is open in another process") from error


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")
