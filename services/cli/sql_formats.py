"""How the rows of a statement are written: for people, for programs, for Arrow."""

import csv
from pathlib import Path
from typing import TextIO

import msgspec

from schemas.queries import SqlAnswer
from services.cli import tables

ARROW, CSV, JSON, JSONL, TABLE = "arrow", "csv", "json", "jsonl", "table"
FORMATS = (TABLE, CSV, JSON, JSONL, ARROW)


def write(answer: SqlAnswer, form: str, to: TextIO) -> None:
    """All rows in any form but Arrow."""
    match form:
        case "csv":
            lines = csv.writer(to)
            lines.writerow(answer.columns)
            lines.writerows([[_written(value) for value in row] for row in answer.rows])
        case "json":
            print(msgspec.json.format(msgspec.json.encode(_objects(answer))).decode(), file=to)
        case "jsonl":
            for row in _objects(answer):
                print(msgspec.json.encode(row).decode(), file=to)
        case _:
            count = f"{len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'}"
            tables.write(
                answer.columns,
                [[_shown(value) for value in row] for row in answer.rows],
                caption=f"{count} at sequence {answer.sequence}",
                to=to,
            )


def arrow_file(stream: Path, path: Path) -> int:
    """Make the Arrow file ``path`` of the Arrow stream ``stream``; the number of its rows."""
    # Half a second to import: not for every statement.
    import pyarrow as pa  # noqa: PLC0415

    rows = 0
    with (
        pa.memory_map(str(stream)) as mapped,
        pa.ipc.open_stream(mapped) as batches,
        pa.ipc.new_file(str(path), batches.schema) as written,
    ):
        for batch in batches:
            rows += batch.num_rows
            written.write_batch(batch)
    return rows


def _objects(answer: SqlAnswer) -> list[dict[str, object]]:
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _shown(value: object) -> str:
    """A value for people: on one line, and never nothing."""
    return "NULL" if value is None else _written(value).replace("\n", "\\n")


def _written(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
