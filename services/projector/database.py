"""A DuckDB file of views: a cache of the log that only this process may open.

Rows and the sequence they stand at change in one transaction, and only if that sequence is still
the one they were made for: what is delivered twice, by whomever, counts once.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import msgspec

from schemas.upcasters import EventUnknown
from services.projector import file, incoming, view
from services.projector.facts import Message, Running
from services.projector.file_keys import PLAIN, FileKey
from services.projector.prepare import UNREADABLE, Prepared, prepare
from services.projector.settings import ProjectorSettings
from services.projector.views import VIEWS, parked, turns

VERSION = 1
"""Of the table ``projection`` itself."""

_CREATE = "CREATE TABLE projection (sequence BIGINT, log VARCHAR, versions VARCHAR)"
_INSERT = "INSERT INTO projection (sequence, log, versions) VALUES (0, '', $versions)"
_SELECT = "SELECT sequence, log, versions FROM projection"
_ADVANCE = """
UPDATE projection SET sequence = $new, log = $log
WHERE sequence = $old AND log IN ('', $log)
"""


class ViewsUnusable(Exception):
    """The file is damaged, or none of ours."""


class ViewsDiffer(Exception):
    """The file was made by another release, whose views were others; it can be read."""


class ViewsUnavailable(Exception):
    """Statements of others leave too little memory for a transaction; it may be tried again."""


class CheckpointMoved(Exception):
    """The file stands at another sequence than this process left it at."""


class CommitUnreadable(Exception):
    """A message of the log cannot be projected; nothing after it was."""

    def __init__(self, sequence: int, error: Exception) -> None:
        """``error`` says why."""
        self.sequence = sequence
        self.error = error
        super().__init__(f"commit {sequence}: {self.reason}")

    @property
    def reason(self) -> str:
        """Why, in words that quote nothing of what could not be read."""
        name = type(self.error).__name__
        return f"{name}: {self.error}" if isinstance(self.error, EventUnknown) else name


class ParkedCommit(msgspec.Struct, frozen=True, kw_only=True):
    """One that could not be projected, as the view ``parked`` tells of it."""

    sequence: int
    project: str
    conversation_id: str
    error: str


class Frozen:
    """A file that is only read, since another release has made it. As `Database.cursor` says."""

    def __init__(
        self, path: Path, settings: ProjectorSettings, keys: Sequence[FileKey] = (PLAIN,)
    ) -> None:
        """Open it with the one of the ``keys`` that fits; raises `ViewsUnusable`."""
        self.path = path
        self._connection, self.key = _connected(path, settings, keys)
        try:
            row = self._connection.execute(_SELECT).fetchone()
        except duckdb.Error as error:
            raise ViewsUnusable(str(error)) from error
        if row is None:
            raise ViewsUnusable("it is empty")
        self.sequence: int = row[0]

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same tables, for one thread; close it after use."""
        return file.cursor(self._connection, self.key)

    def close(self) -> None:
        """Let go of it; statements that run have it until they end."""
        # Closing it would close their connections, which it refuses.
        del self._connection


class Database:
    """The open file. Not for several threads, but for `cursor`."""

    def __init__(self, path: Path, settings: ProjectorSettings, key: FileKey = PLAIN) -> None:
        """Open the file, or make it, encrypted with ``key``.

        Raises `ViewsUnusable` or `ViewsDiffer`, and leaves it.
        """
        self.path = path
        self.key = key
        self.running: Running = {}
        """Turns in progress, where the views stand."""
        self.parked: list[ParkedCommit] = []
        """Commits before that which are not in the views."""
        self._connection = (
            _opened(path, settings, key) if path.exists() else self._begun(settings, key)
        )
        try:
            self._load()
        except (duckdb.Error, EventUnknown, msgspec.MsgspecError) as error:
            self._connection.close()
            raise ViewsUnusable(str(error)) from error
        self._reading = file.cursor(self._connection, self.key)
        self._statements = incoming.statements(self._connection, VIEWS)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same tables, for one thread; close it after use."""
        return file.cursor(self._reading, self.key)

    def apply(self, messages: Sequence[Message], *, log: str) -> None:
        """Project messages of the log called ``log``, in their order; known ones are left out."""
        prepared = prepare(messages, after=self.sequence, running=self.running)
        self.write(prepared, log=log)

    def write(self, prepared: Prepared, *, log: str) -> None:
        """Project a batch that was prepared for where the views stand now, in one transaction.

        Raises `CommitUnreadable` once everything before the unreadable message is projected.
        """
        if not prepared.messages:
            return
        try:
            if prepared.error is not None:
                raise prepared.error
            self._transact(prepared, log=log)
        except UNREADABLE as error:
            if len(prepared.messages) == 1:
                raise CommitUnreadable(prepared.sequence, error) from error
            middle = len(prepared.messages) // 2
            self.apply(prepared.messages[:middle], log=log)
            self.apply(prepared.messages[middle:], log=log)
        except duckdb.OutOfMemoryException as error:
            raise ViewsUnavailable(str(error)) from error

    def pass_by(self, commit: ParkedCommit, *, log: str) -> None:
        """Go on after a commit that cannot be projected, the next there is, and remember it."""
        self._connection.begin()
        try:
            passed = view.statements(parked)["passed"]
            self._connection.execute(passed, msgspec.structs.asdict(commit))
            self._advance(commit.sequence, log=log)
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        self.sequence, self.log = commit.sequence, log
        self.parked.append(commit)

    def reset(self) -> None:
        """Empty all tables: the next message is the first of a log."""
        self._connection.begin()
        for kind in ("view", "table"):
            names = self._connection.execute(
                f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE NOT internal"  # noqa: S608 - constants
            ).fetchall()
            for (name,) in names:
                self._connection.execute(f"DROP {kind} {name}")
        _create(self._connection)
        self._connection.commit()
        self._load()
        self._statements = incoming.statements(self._connection, VIEWS)

    def close(self) -> None:
        """Merge the write-ahead log into the file, and let go of it.

        Statements that run have it until they end; with the last of them it is merged.
        """
        # Closing it would close their connections, which it refuses.
        del self._reading
        self._connection.close()

    def _transact(self, prepared: Prepared, *, log: str) -> None:
        self._connection.begin()
        try:
            for name, statement in self._statements.items():
                if name in prepared.columns:
                    statement.execute(prepared.columns[name])
            self._advance(prepared.sequence, log=log)
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        self.sequence, self.log, self.running = prepared.sequence, log, prepared.running

    def _advance(self, sequence: int, *, log: str) -> None:
        changed = self._connection.execute(
            _ADVANCE, {"new": sequence, "old": self.sequence, "log": log}
        ).fetchone()
        if changed != (1,):
            raise CheckpointMoved(f"the views do not stand at {self.sequence} of {log!r} any more")

    def _begun(self, settings: ProjectorSettings, key: FileKey) -> duckdb.DuckDBPyConnection:
        connection = file.connect(self.path, settings, key)
        connection.begin()
        _create(connection)
        connection.commit()
        return connection

    def _load(self) -> None:
        row = self._connection.execute(_SELECT).fetchone()
        assert row is not None
        self.sequence, self.log, _ = row
        rows = self._connection.execute(view.statements(turns)["running"]).fetchall()
        self.running = turns.running(rows)
        found = self._connection.execute(view.statements(parked)["all"]).fetchall()
        self.parked = [
            ParkedCommit(sequence=sequence, project=project, conversation_id=name, error=error)
            for sequence, project, name, error in found
        ]


def _opened(path: Path, settings: ProjectorSettings, key: FileKey) -> duckdb.DuckDBPyConnection:
    """A file that is there, if it is of our versions."""
    try:
        connection = file.connect(path, settings, key)
    except duckdb.Error as error:
        raise ViewsUnusable(str(error)) from error
    try:
        row = connection.execute(_SELECT).fetchone()
    except duckdb.Error as error:
        connection.close()
        raise ViewsUnusable(str(error)) from error
    if row is None or row[2] != _versions():
        connection.close()
        raise ViewsDiffer(f"its views are {row and row[2]}, ours {_versions()}")
    return connection


def _connected(
    path: Path, settings: ProjectorSettings, keys: Sequence[FileKey]
) -> tuple[duckdb.DuckDBPyConnection, FileKey]:
    """A file that one of ``keys`` fits, and that key."""
    fault: duckdb.Error | None = None
    for key in keys:
        try:
            return file.connect(path, settings, key), key
        except duckdb.Error as error:
            fault = error
    raise ViewsUnusable(str(fault)) from fault


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    for each in VIEWS:
        connection.execute(view.statements(each)[view.TABLES])
    connection.execute(_CREATE)
    connection.execute(_INSERT, {"versions": _versions()})


def _versions() -> str:
    numbers = {view.name(each): each.VERSION for each in VIEWS}
    return msgspec.json.encode({"projection": VERSION, **numbers}).decode()
