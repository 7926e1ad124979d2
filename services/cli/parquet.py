"""A directory of Parquet files, one per table, day and project, and the manifest that names them.

A file is replaced whole or not at all, under a name that never changes: whoever reads a table finds
each row once, at any time. The manifest is written when all of its files are there; an export that
was cut short is made again from where the manifest stands, and writes the same files again.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import click
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.queries import ExportedPart, ExportState
from services.cli.whole_file import PARTIAL, whole

MANIFEST = "manifest.json"
LOCK = ".lock"
FORMAT = 1
GROUP_ROWS = 100_000
GROUP_BYTES = 64 * 1024 * 1024
"""Rows and bytes after which a row group ends: no more is held in memory."""
SPOOLED = ".arrow"


class ExportUnusable(click.ClickException):
    """The directory holds something else, or another export is being made in it."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the manifest knows it; it is what the log held at ``sequence``."""

    rows: int
    bytes: int
    sha256: str
    sequence: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the directory. Parts without a change after ``since`` may never have been."""

    turnlog_export: int = FORMAT
    state: ExportState
    since: int
    files: dict[str, Kept]


class Directory:
    """Held by one export at a time; see `opened`."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self._path = path
        self.manifest = _manifest(path)
        self.written: dict[str, Kept] = {}
        """Files of this export."""
        self._empty: set[str] = set()
        """Those that have no rows any more."""

    @contextmanager
    def spool(self) -> Iterator[Path]:
        """A place for an Arrow stream, until it is made a file."""
        path = self._path / f"{SPOOLED}{PARTIAL}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def add(self, part: ExportedPart, stream: Path, *, sequence: int) -> Kept:
        """Make the file of ``part`` from its Arrow stream.

        One without rows, as after an erasure, is no part any more: what there was goes.
        """
        name = f"{part.table}/day={part.day}/project={quote(part.project, safe='')}"
        path = self._path / name / f"{part.table}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            rows = _write(stream, partial)
            with partial.open("rb") as written:
                digest = hashlib.file_digest(written, "sha256").hexdigest()
            size = partial.stat().st_size
        kept = Kept(rows=rows, bytes=size, sha256=digest, sequence=sequence)
        file = str(path.relative_to(self._path))
        self.written.pop(file, None)
        self._empty.discard(file)
        if rows:
            self.written[file] = kept
        else:
            self._empty.add(file)
        return kept

    def finish(self, state: ExportState, *, since: int) -> Manifest:
        """Name everything in the manifest, and remove what does not belong to it any more."""
        before = self.manifest
        # An export from the beginning has everything again.
        files = {**before.files, **self.written} if before and since else dict(self.written)
        files = {name: kept for name, kept in files.items() if name not in self._empty}
        if before is not None and since:
            since = min(since, before.since)
        manifest = Manifest(state=state, since=since, files=dict(sorted(files.items())))
        for path in self._ours():
            if str(path.relative_to(self._path)) not in files:
                path.unlink()
                # The folder of a part that is no more.
                with suppress(OSError):
                    path.parent.rmdir()
        if manifest != before:
            with whole(self._path / MANIFEST) as partial:
                partial.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        return manifest

    def forget_unfinished(self) -> None:
        """Remove what an export left that was killed."""
        for path in self._path.rglob(f".*{PARTIAL}"):
            path.unlink()

    def _ours(self) -> Iterator[Path]:
        for path in self._path.glob("*/day=*/project=*/*.parquet"):
            if path.stem == path.relative_to(self._path).parts[0]:
                yield path


@contextmanager
def opened(path: Path) -> Iterator[Directory]:
    """The directory, made if need be, for this process alone."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportUnusable(f"another export is being made in {path}") from None
        directory = Directory(path)
        directory.forget_unfinished()
        yield directory


def _manifest(path: Path) -> Manifest | None:
    try:
        payload = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest = msgspec.json.decode(payload, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ExportUnusable(f"{path / MANIFEST} is no manifest of ours: {error}") from error
    if manifest.turnlog_export != FORMAT:
        raise ExportUnusable(f"{path} was exported by another release: choose an empty directory")
    return manifest


def _write(stream: Path, path: Path) -> int:
    """The Parquet file of an Arrow stream; the number of its rows."""
    with pa.memory_map(str(stream)) as mapped, pa.ipc.open_stream(mapped) as batches:
        schema = batches.schema
        rows = 0
        with pq.ParquetWriter(path, schema, compression="zstd") as written:
            for group in _groups(batches):
                table = pa.Table.from_batches(group, schema)
                rows += table.num_rows
                written.write_table(table, row_group_size=max(1, table.num_rows))
    return rows


def _groups(batches: pa.RecordBatchReader) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        group.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group
