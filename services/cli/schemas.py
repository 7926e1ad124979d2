"""``make schemas``: what is stored and said, described from the types themselves.

JSON Schema of every event and message, AsyncAPI of what crosses NATS, OpenAPI of the HTTP contract.

``python -m services.cli.schemas`` writes them; ``--check`` only says whether they are current.
"""

from importlib.metadata import version
from pathlib import Path

import click
import msgspec.json
import msgspec.yaml

import schemas
from schemas import asyncapi, openapi
from schemas.envelope import Commit, Outline
from schemas.events import CLASSES
from schemas.queries import (
    Compact,
    CompactAnswer,
    Digest,
    DigestAnswer,
    Health,
    Rebuild,
    Rebuilding,
    Sql,
    SqlAnswer,
)
from schemas.shapes import Shape
from schemas.turn_requests import TurnRequest
from schemas.upcasters import CURRENT

GENERATED = Path(schemas.__file__).parent / "generated"
SERVER = "http://127.0.0.1:8080"
"""Where ``make run`` serves."""


class SchemasOutdated(click.ClickException):
    """The written schemas are not those of the types."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"outdated: {', '.join(names)}; run `make schemas`")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail if something is outdated.")
def generate(*, check: bool) -> None:
    """Write the schemas of everything that is stored or crosses a process."""
    documents = generated()
    kept = {str(path.relative_to(GENERATED)): path for path in GENERATED.rglob("*.*")}
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
    kinds |= {"ask/digest.json": Digest, "ask/digest_answer.json": DigestAnswer}
    kinds |= {"ask/rebuild.json": Rebuild, "ask/rebuilding.json": Rebuilding}
    kinds |= {"ask/compact.json": Compact, "ask/compact_answer.json": CompactAnswer}
    turnlog = version("turnlog")
    return {
        **{name: _schema(kind) for name, kind in kinds.items()},
        openapi.FILE: _yaml(openapi.document(version=turnlog, server=SERVER)),
        asyncapi.FILE: _yaml(asyncapi.document(version=turnlog)),
    }


def _yaml(document: Shape) -> str:
    return "# Written by `make schemas`.\n" + msgspec.yaml.encode(document).decode()


def _schema(kind: type) -> str:
    described = msgspec.json.schema(kind, schema_hook=_anything)
    schema = msgspec.json.encode(described, order="sorted")
    return msgspec.json.format(schema, indent=2).decode() + "\n"


def _anything(_kind: type) -> dict[str, object]:
    """Cells of an answer are whatever JSON has."""
    return {"description": "Any JSON value."}


if __name__ == "__main__":
    generate()
