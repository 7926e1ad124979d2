"""What a view is: a module of ``views/`` that turns facts into rows, and the ``.sql`` beside it.

The module never opens the database. The ``.sql`` begins with the tables, whose comments are the
reference of their columns; a statement ``-- name: added`` of the view ``items`` reads the rows
given for it from the table ``items_added``.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import msgspec
import pyarrow as pa

from schemas import events as e
from services.projector.facts import Batch

TABLES = "tables"
"""Name of the statements that make a view's tables in an empty database."""

BIGINT: pa.DataType = pa.int64()
DATE: pa.DataType = pa.date32()
BOOLEAN: pa.DataType = pa.bool_()
INTEGER: pa.DataType = pa.int32()
TEXT: pa.DataType = pa.string()
"""Of strings, and of bytes or raw JSON that are UTF-8."""
TIME: pa.DataType = pa.timestamp("us")
"""Of microseconds since 1970, UTC."""

ERASED: pa.Schema = pa.schema({"project": TEXT, "conversation_id": TEXT, "sequence": BIGINT})
"""Conversations of which nothing is to be left that is older than a sequence."""

Row: TypeAlias = tuple[object, ...]

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class View(Protocol):
    """What a module of ``views/`` has."""

    __file__: str | None
    VERSION: int
    """Another number than the stored one: the database is built again from the log."""
    INCOMING: dict[str, pa.Schema]
    """The rows each statement reads, in the order the statements are executed in."""

    def changes(self, batch: Batch) -> dict[str, Sequence[Row]]:
        """Rows for every statement."""


def name(view: View) -> str:
    """The view's name: its module's and its ``.sql``'s."""
    return _path(view).stem


def statements(view: View) -> dict[str, str]:
    """The statements beside the view's module, by name."""
    _, *sections = _NAME.split(_path(view).read_text())
    return dict(zip(sections[::2], sections[1::2], strict=True))


def erased(batch: Batch) -> list[Row]:
    """Rows of `ERASED`."""
    return [
        (fact.project, fact.conversation_id, fact.sequence)
        for fact in batch.facts
        if isinstance(fact.event, e.ConversationErased)
    ]


def columns(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Rows, at least one, as columns; raises `ValueError` for a value that fits none."""
    values = zip(*rows, strict=True)
    arrays = [_array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: tuple[object, ...], kind: pa.DataType) -> "pa.Array[Any]":
    if not isinstance(values[0], msgspec.Raw):
        return pa.array(values, kind)
    # JSON as it is stored: copied once, all together.
    texts = cast("tuple[msgspec.Raw, ...]", values)  # a column is of one kind
    ends = pa.array(accumulate(map(len, texts), initial=0), pa.int32(), size=len(texts) + 1)
    offsets = ends.buffers()[1]
    assert offsets is not None
    array = pa.StringArray.from_buffers(len(texts), offsets, pa.py_buffer(b"".join(texts)))
    array.validate(full=True)
    return array


def _path(view: View) -> Path:
    assert view.__file__ is not None
    return Path(view.__file__).with_suffix(".sql")
