"""The DuckDB file: a cache of the log that only this process may open, deleted whenever in doubt.

Rows and the sequence they stand at change in one transaction, and only if that sequence is still
the one they were made for: what is delivered twice, by whomever, counts once.
"""

import fcntl
from collections.abc import Sequence
from pathlib import Path

import duckdb
import msgspec
import structlog

from schemas.upcasters import EventUnknown
from services.projector import incoming, view
from services.projector.facts import Message, Running
from services.projector.prepare import UNREADABLE, Prepared, prepare
from services.projector.settings import ProjectorSettings
from services.projector.views import VIEWS, turns

FILE = "views.duckdb"
VERSION = 1
"""Of the table ``projection`` itself."""

_CREATE = "CREATE TABLE projection (sequence BIGINT, log VARCHAR, versions VARCHAR)"
_INSERT = "INSERT INTO projection (sequence, log, versions) VALUES (0, '', $versions)"
_SELECT = "SELECT sequence, log, versions FROM projection"
_ADVANCE = """
UPDATE projection SET sequence = $new, log = $log
WHERE sequence = $old AND log IN ('', $log)
"""

log = structlog.get_logger()


class ViewsInUse(Exception):
    """Another process has the file open."""


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
        super().__init__(f"commit {sequence}: {type(error).__name__}: {error}")


class Database:
    """The open file. Not for several threads, but for `cursor`."""

    def __init__(self, settings: ProjectorSettings) -> None:
        """Open the file, or begin a new one where there is none that can be used."""
        self.path = Path(settings.data_dir) / FILE
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings = settings
        self.running: Running = {}
        """Turns in progress, where the views stand."""
        _refuse_if_in_use(self.path)
        self._connection = self._open() or self._begin()
        self._reading = self._connection.cursor()
        self._statements = incoming.statements(self._connection, VIEWS)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same tables, for one thread; close it after use."""
        return self._reading.cursor()

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

    def reset(self) -> None:
        """Empty all tables: the next message is the first of a log."""
        self._connection.begin()
        for kind in ("view", "table"):
            names = self._connection.execute(
                f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE NOT internal"  # noqa: S608 - constants
            ).fetchall()
            for (name,) in names:
                self._connection.execute(f"DROP {kind} {name}")
        self._create(self._connection)
        self._connection.commit()
        self._load(self._connection)
        self._statements = incoming.statements(self._connection, VIEWS)

    def close(self) -> None:
        """Merge the write-ahead log into the file, and let go of it."""
        self._reading.close()
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

    def _open(self) -> duckdb.DuckDBPyConnection | None:
        """The file as it was left; none if there is none, or of other versions, or damaged."""
        if not self.path.exists():
            return None
        connection = None
        try:
            connection = _connect(self.path, self._settings)
            self._load(connection)
        except (duckdb.Error, EventUnknown, msgspec.MsgspecError) as error:
            log.warning("views.discarded", error=type(error).__name__, detail=str(error))
        else:
            if self._versions == _versions():
                return connection
            log.warning("views.discarded", stored=self._versions, current=_versions())
        if connection is not None:
            connection.close()
        return None

    def _begin(self) -> duckdb.DuckDBPyConnection:
        self.path.unlink(missing_ok=True)
        self.path.with_name(f"{FILE}.wal").unlink(missing_ok=True)
        connection = _connect(self.path, self._settings)
        connection.begin()
        self._create(connection)
        connection.commit()
        self._load(connection)
        return connection

    def _create(self, connection: duckdb.DuckDBPyConnection) -> None:
        for each in VIEWS:
            connection.execute(view.statements(each)[view.TABLES])
        connection.execute(_CREATE)
        connection.execute(_INSERT, {"versions": _versions()})

    def _load(self, connection: duckdb.DuckDBPyConnection) -> None:
        row = connection.execute(_SELECT).fetchone()
        assert row is not None
        self.sequence, self.log, self._versions = row
        rows = connection.execute(view.statements(turns)["running"]).fetchall()
        self.running = turns.running(rows)


def _connect(path: Path, settings: ProjectorSettings) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        str(path),
        config={
            "threads": settings.duckdb_threads,
            "memory_limit": f"{settings.duckdb_memory_bytes_max}B",
            "checkpoint_threshold": f"{settings.duckdb_checkpoint_bytes}B",
            # Statements of analysts reach neither files, nor networks, nor our variables.
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection


def _versions() -> str:
    numbers = {view.name(each): each.VERSION for each in VIEWS}
    return msgspec.json.encode({"projection": VERSION, **numbers}).decode()


def _refuse_if_in_use(path: Path) -> None:
    """DuckDB says so too, but only in words; it takes the same lock."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ViewsInUse(f"{path} is open in another process") from error
