"""``turnlog sql``: one read-only statement, answered by the projector from its views."""

import asyncio
import csv
import sys

import click
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from schemas import subjects
from schemas.queries import Sql, SqlAnswer
from services.cli import address, options, tables
from services.cli.connection import connected
from services.journal.connect import without_credentials

MARGIN_S = 5.0
"""Seconds an answer may take on top of what its question allows."""


class StatementFailed(click.ClickException):
    """The projector says why there are no rows."""


class ProjectorUnavailable(click.ClickException):
    """Nobody answers."""


@click.command(
    epilog="""\b
Examples:
  turnlog sql 'SELECT count(*) FROM turns'
  turnlog sql --schema
  turnlog sql "SELECT model, sum(total_tokens) AS tokens FROM token_usage GROUP BY ALL"
  turnlog sql "FROM turns WHERE status = 'failed' ORDER BY ended_at DESC LIMIT 10"
  turnlog sql --format csv 'FROM conversations' > conversations.csv
  turnlog sql --format jsonl - < report.sql | jq .model
"""
)
@click.argument("statement", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="How rows are written.",
)
@click.option("--rows-max", default=10_000, show_default=True, help="Most rows to fetch.")
@click.option("--time-s-max", default=30.0, show_default=True, help="Seconds it may run.")
@click.option("--as-is", is_flag=True, help="Answer at once, from what the views have by now.")
@click.option("--schema", is_flag=True, help="Print what the tables and their columns hold.")
@options.running_nats_url
@options.data_dir
def sql(
    statement: str | None,
    *,
    form: str,
    rows_max: int,
    time_s_max: float,
    as_is: bool,
    schema: bool,
) -> None:
    """Ask the views one read-only STATEMENT (DuckDB SQL); - reads it from standard input.

    Tables: conversations, items, turns, token_usage, tool_calls, compactions, events, parked. The
    answer has everything that was in the log when it was asked.
    """
    if schema == (statement is not None):
        raise click.UsageError("give a statement, or --schema")
    if statement is None:
        _print_schema()
        return
    text = sys.stdin.read() if statement == "-" else statement
    question = Sql(statement=text, rows_max=rows_max, time_s_max=time_s_max)
    answer = asyncio.run(ask(address.nats_url(), question, as_is=as_is))
    if answer.error is not None:
        raise StatementFailed(answer.error)
    write(answer, form)
    if answer.truncated:
        click.echo(f"only the first {len(answer.rows)} rows are shown", err=True)


def _print_schema() -> None:
    # DuckDB and Arrow take half a second to import: not for every statement.
    from services.projector import view  # noqa: PLC0415
    from services.projector.views import VIEWS  # noqa: PLC0415

    made = (view.statements(each)[view.TABLES].strip() for each in VIEWS)
    click.echo("\n\n".join(made))


async def ask(nats_url: str, question: Sql, *, as_is: bool = False) -> SqlAnswer:
    """The answer to ``question`` that knows everything written before it was asked.

    ``as_is``: that knows what it knows.
    """
    asked = False
    try:
        async with connected(nats_url, name="turnlog sql") as client:
            asked = True
            return await _ask(client, question, as_is=as_is)
    except nats.js.errors.NotFoundError as error:
        raise ProjectorUnavailable("the server has no log of Turnlog's") from error
    except nats.errors.NoRespondersError as error:
        raise ProjectorUnavailable("no projector runs: see `turnlog projector --help`") from error
    except (nats.errors.Error, OSError, TimeoutError) as error:
        if asked:
            raise ProjectorUnavailable("the projector did not answer in time") from error
        where = without_credentials(nats_url)
        raise ProjectorUnavailable(f"no Turnlog answers at {where}") from error


async def _ask(client: Client, question: Sql, *, as_is: bool) -> SqlAnswer:
    if not as_is:
        info = await client.jetstream().stream_info(subjects.CONVERSATIONS)
        question = msgspec.structs.replace(question, sequence=info.state.last_seq)
    answer = await client.request(
        subjects.ask("sql"),
        msgspec.json.encode(question),
        timeout=question.wait_s + question.time_s_max + MARGIN_S,
    )
    return msgspec.json.decode(answer.data, type=SqlAnswer)


def write(answer: SqlAnswer, form: str) -> None:
    """Rows to standard output."""
    match form:
        case "csv":
            lines = csv.writer(sys.stdout)
            lines.writerow(answer.columns)
            lines.writerows([[_written(value) for value in row] for row in answer.rows])
        case "json":
            click.echo(msgspec.json.format(msgspec.json.encode(_objects(answer))).decode())
        case "jsonl":
            for row in _objects(answer):
                click.echo(msgspec.json.encode(row).decode())
        case _:
            count = f"{len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'}"
            tables.write(
                answer.columns,
                [[_shown(value) for value in row] for row in answer.rows],
                caption=f"{count} at sequence {answer.sequence}",
            )


def _objects(answer: SqlAnswer) -> list[dict[str, object]]:
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _shown(value: object) -> str:
    """A value for people: on one line, and never nothing."""
    return "NULL" if value is None else _written(value).replace("\n", "\\n")


def _written(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
