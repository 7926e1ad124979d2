"""``make schemas``: JSON Schema of every stored event and queue message, from the types themselves.

``python -m services.cli.schemas`` writes them; ``--check`` only says whether they are current.
"""

from pathlib import Path

import click
import msgspec

import schemas
from schemas.envelope import Commit, Outline
from schemas.events import CLASSES
from schemas.queries import Compact, CompactAnswer, Health, Sql, SqlAnswer
from schemas.turn_requests import TurnRequest
from schemas.upcasters import CURRENT

GENERATED = Path(schemas.__file__).parent / "generated"


class SchemasOutdated(click.ClickException):
    """The written schemas are not those of the types."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"outdated: {', '.join(names)}; run `make schemas`")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail if something is outdated.")
def generate(*, check: bool) -> None:
    """Write the schemas of everything that is stored or crosses a process on NATS."""
    documents = generated()
    kept = {str(path.relative_to(GENERATED)): path for path in GENERATED.rglob("*.json")}
    outdated = [
        name
        for name in sorted({*documents, *kept})
        if name not in kept or name not in documents or kept[name].read_text() != documents[name]
    ]
    if check:
        if outdated:
            raise SchemasOutdated(outdated)
        return
    for name in outdated:
        path = GENERATED / name
        if name not in documents:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(documents[name])
        click.echo(f"wrote {path}")


def generated() -> dict[str, str]:
    """File name to content."""
    kinds: dict[str, type] = {
        f"events/{name}.v{CURRENT[name]}.json": kind for name, kind in CLASSES.items()
    }
    kinds |= {"commit.json": Commit, "outline.json": Outline, "turn_request.json": TurnRequest}
    kinds |= {"ask/health.json": Health, "ask/sql.json": Sql, "ask/sql_answer.json": SqlAnswer}
    kinds |= {"ask/compact.json": Compact, "ask/compact_answer.json": CompactAnswer}
    return {name: _document(kind) for name, kind in kinds.items()}


def _document(kind: type) -> str:
    described = msgspec.json.schema(kind, schema_hook=_anything)
    schema = msgspec.json.encode(described, order="sorted")
    return msgspec.json.format(schema, indent=2).decode() + "\n"


def _anything(_kind: type) -> dict[str, object]:
    """Cells of an answer are whatever JSON has."""
    return {"description": "Any JSON value."}


if __name__ == "__main__":
    generate()
