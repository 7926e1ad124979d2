"""A statement's answer as bytes of any length, made while it is taken: never all of it in memory.

Both forms are iterators that a thread is needed for to go on, not always the same one.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import duckdb
import msgspec
import pyarrow as pa

from schemas.queries import STANDS_HEADER, TRUNCATED_HEADER
from services.projector import query

BATCH_ROWS = 2048
"""Rows of a record batch: as many as DuckDB works on at once."""
PIECE_BYTES = 512 * 1024
"""Bytes of a piece; the first is kept back until there are so many, or no more."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Some of an answer; ``truncated`` is known with the last."""

    data: bytes
    last: bool
    truncated: bool = False


class Answer:
    """One statement on a connection used for nothing else."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        statement: str,
        *,
        project: str | None,
        form: str,
        rows_max: int | None,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        """Nothing is read yet; of all projects if there is no ``project``."""
        self._project = project
        self._piece_bytes = piece_bytes
        self._connection = connection
        self._statement = statement
        self._parts = self._arrow if form == "arrow" else self._json
        self._rows_max = rows_max
        self._truncated = False
        self.sequence = 0
        """What the answer stands at, once a piece is there."""

    def pieces(self) -> Iterator[Piece]:
        """All of it; raises what `query.reason` tells."""
        self.sequence = query.begin(self._connection, self._statement, project=self._project)
        for data, last in cut(self._parts(), size=self._piece_bytes):
            yield Piece(data=data, last=last, truncated=self._truncated and last)

    def _json(self) -> Iterator[bytes]:
        columns = query.execute(self._connection, self._statement)
        yield b'{"object":"turnlog.rows","sequence":%d,"columns":' % self.sequence
        yield _encode(columns)
        yield b',"rows":['
        for number, row in enumerate(query.rows(self._connection, rows_max=self._rows_max)):
            if number == self._rows_max:
                self._truncated = True
                break
            yield (b"," if number else b"") + _encode(row)
        yield b'],"truncated":%s}' % (b"true" if self._truncated else b"false")

    def _arrow(self) -> Iterator[bytes]:
        reader = self._connection.sql(self._statement).to_arrow_reader(BATCH_ROWS)
        schema = reader.schema.with_metadata({STANDS_HEADER.encode(): b"%d" % self.sequence})
        return stream(self._within(reader), schema, truncated=lambda: self._truncated)

    def _within(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        left = self._rows_max
        for batch in _read(reader):
            if left is None:
                yield batch
                continue
            if batch.num_rows > left:
                self._truncated = True
                yield batch.slice(0, left)
                return
            left -= batch.num_rows
            yield batch


def _read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except (pa.ArrowException, OSError) as error:
        # What DuckDB raises comes through Arrow's interface as a text alone.
        kinds: dict[str, type[duckdb.Error]] = {
            "INTERRUPT": duckdb.InterruptException,
            "Out of Memory": duckdb.OutOfMemoryException,
        }
        text = str(error)
        kind = next((kinds[name] for name in kinds if text.startswith(name)), duckdb.Error)
        raise kind(text) from error


class _Sink:
    """A file that is only written to, and emptied meanwhile."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def stream(
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    *,
    truncated: Callable[[], bool] = lambda: False,
) -> Iterator[bytes]:
    """An Arrow IPC stream; an empty batch at its end says so if it was truncated."""
    sink = _Sink()
    # pyarrow writes to whatever has these methods.
    with pa.ipc.new_stream(cast("Any", sink), schema) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            yield sink.taken()
        if truncated():
            nothing = pa.RecordBatch.from_pylist([], schema=schema)
            writer.write_batch(nothing, custom_metadata={TRUNCATED_HEADER.encode(): b"true"})
    yield sink.taken()


def cut(parts: Iterator[bytes], *, size: int = PIECE_BYTES) -> Iterator[tuple[bytes, bool]]:
    """The same bytes in pieces of ``size``, and whether it is the last one, which is shorter."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) > size:
            yield bytes(waiting[:size]), False
            del waiting[:size]
    yield bytes(waiting), True
