"""``turnlog sql``: read-only statements, answered by the projector from its views."""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import IO, TypeVar

import click
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from schemas import queries, subjects
from schemas.queries import Sql, SqlAnswer
from services.cli import address, options, sql_formats
from services.cli.connection import connected
from services.cli.whole_file import whole
from services.journal.connect import without_credentials
from services.journal.pieces import NoAnswer, NobodyAnswers, pieces

ROWS_MAX = 10_000

T = TypeVar("T")


class StatementFailed(click.ClickException):
    """The projector says why there are no rows."""


class ProjectorUnavailable(click.ClickException):
    """Nobody answers."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How statements are to be answered."""

    form: str
    output: Path | None
    rows_max: int | None
    time_s_max: float
    as_is: bool


@click.command(
    epilog="""\b
Examples:
  turnlog sql                                    type statements, with a history
  turnlog sql 'SELECT count(*) FROM turns'
  turnlog sql --schema
  turnlog sql "SELECT model, sum(total_tokens) AS tokens FROM token_usage GROUP BY ALL"
  turnlog sql "FROM turns WHERE status = 'failed' ORDER BY ended_at DESC LIMIT 10"
  turnlog sql -f deploy/queries/turn_latency.sql
  turnlog sql --format csv -o conversations.csv 'FROM conversations'
  turnlog sql --format arrow -o items.arrow 'FROM items'
  turnlog sql --format jsonl - < report.sql | jq .model
"""
)
@click.argument("statement", required=False)
@click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the statement from this file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(sql_formats.FORMATS),
    default=sql_formats.TABLE,
    show_default=True,
    help="How rows are written. arrow: a file of record batches, or without -o a stream of them.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, whole or not at all; without it: standard output.",
)
@click.option(
    "--rows-max",
    type=click.IntRange(min=0),
    help=f"Most rows to fetch; without it {ROWS_MAX}, and with --format arrow all.",
)
@click.option("--time-s-max", default=30.0, show_default=True, help="Seconds it may run.")
@click.option("--as-is", is_flag=True, help="Answer at once, from what the views have by now.")
@click.option("--schema", is_flag=True, help="Print what the tables and their columns hold.")
@click.option(
    "--history",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with what was typed.  [default: ~/.local/state/turnlog/sql_history]",
)
@options.running_nats_url
@options.data_dir
def sql(
    statement: str | None,
    *,
    file: Path | None,
    schema: bool,
    history: Path | None,
    **wanted: object,
) -> None:
    """Ask the views one read-only STATEMENT (DuckDB SQL); - reads it from standard input.

    Tables: conversations, items, turns, token_usage, tool_calls, compactions, events, erasures,
    parked. The answer has everything that was in the log when it was asked.
    """
    named = sum((schema, statement is not None, file is not None))
    if named > 1 or (not named and not sys.stdin.isatty()):
        raise click.UsageError("give one of a statement, --file and --schema")
    chosen = msgspec.convert(wanted, Wanted)
    if schema:
        _print_schema()
    elif file is not None:
        _answer(file.read_text(), chosen)
    elif statement is not None:
        _answer(sys.stdin.read() if statement == "-" else statement, chosen)
    else:
        _converse(chosen, history)


def _converse(chosen: Wanted, history: Path | None) -> None:
    from services.cli import sql_prompt  # noqa: PLC0415 - readline is for terminals

    def answer(statement: str) -> None:
        _answer(statement, chosen)

    sql_prompt.converse(answer, _print_schema, history=history or sql_prompt.HISTORY)


def _print_schema() -> None:
    # DuckDB and Arrow take half a second to import: not for every statement.
    from services.projector import view  # noqa: PLC0415
    from services.projector.views import VIEWS  # noqa: PLC0415

    made = (view.statements(each)[view.TABLES].strip() for each in VIEWS)
    click.echo("\n\n".join(made))


def _answer(statement: str, chosen: Wanted) -> None:
    arrow = chosen.form == sql_formats.ARROW
    if arrow and chosen.output is None and sys.stdout.isatty():
        raise click.UsageError("Arrow is nothing for a terminal: name a file with --output")
    question = Sql(
        statement=statement,
        rows_max=chosen.rows_max if arrow or chosen.rows_max is not None else ROWS_MAX,
        time_s_max=chosen.time_s_max,
        pieces=True,
        form="arrow" if arrow else "json",
    )
    try:
        if chosen.output is None:
            rows, truncated = _written(question, chosen, None)
        else:
            with whole(chosen.output) as partial:
                rows, truncated = _written(question, chosen, partial)
    except OSError as error:
        raise click.FileError(str(chosen.output), str(error.strerror)) from error
    if truncated:
        shown = f"the first {rows} rows" if rows is not None else "some rows"
        click.echo(f"only {shown} are shown", err=True)


def _written(question: Sql, chosen: Wanted, path: Path | None) -> tuple[int | None, bool]:
    """How many rows were written, where that is known, and whether there are more."""
    url = address.nats_url()
    if question.form == queries.JSON:
        answer = asyncio.run(ask(url, question, as_is=chosen.as_is))
        if path is None:
            sql_formats.write(answer, chosen.form, sys.stdout)
        else:
            with path.open("w", newline="" if chosen.form == sql_formats.CSV else None) as to:
                sql_formats.write(answer, chosen.form, to)
        return len(answer.rows), answer.truncated
    if path is None:
        return None, asyncio.run(copy(url, question, sys.stdout.buffer, as_is=chosen.as_is))
    stream = path.with_name(path.name + ".stream")
    try:
        with stream.open("wb") as to:
            truncated = asyncio.run(copy(url, question, to, as_is=chosen.as_is))
        return sql_formats.arrow_file(stream, path), truncated
    finally:
        stream.unlink(missing_ok=True)


async def ask(nats_url: str, question: Sql, *, as_is: bool = False) -> SqlAnswer:
    """The answer to ``question``, in JSON, that knows everything written before it was asked.

    ``as_is``: that knows what it knows.
    """
    told = io.BytesIO()
    await copy(nats_url, question, told, as_is=as_is)
    return msgspec.json.decode(told.getvalue(), type=SqlAnswer)


async def copy(nats_url: str, question: Sql, to: IO[bytes], *, as_is: bool = False) -> bool:
    """Write the answer as it comes; whether it has more rows than were asked for."""

    async def work(client: Client) -> bool:
        asked = question
        if not as_is:
            info = await client.jetstream().stream_info(subjects.CONVERSATIONS)
            asked = msgspec.structs.replace(question, sequence=info.state.last_seq)
        truncated = False
        told = pieces(client, subjects.ask("sql"), msgspec.json.encode(asked))
        async with aclosing(told):
            async for piece in told:
                to.write(piece.data)
                truncated = piece.truncated
        return truncated

    return await on_projector(nats_url, work)


async def on_projector(nats_url: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """What ``work`` returns, which asks the projector; what goes wrong is told in one line."""
    asked = False
    try:
        async with connected(nats_url, name="turnlog sql") as client:
            asked = True
            return await work(client)
    except NoAnswer as error:
        raise StatementFailed(error.error) from error
    except nats.js.errors.NotFoundError as error:
        raise ProjectorUnavailable("the server has no log of Turnlog's") from error
    except NobodyAnswers as error:
        raise ProjectorUnavailable(f"{error}: see `turnlog projector --help`") from error
    except (nats.errors.Error, TimeoutError) as error:
        if asked:
            raise ProjectorUnavailable("the projector did not answer in time") from error
        where = without_credentials(nats_url)
        raise ProjectorUnavailable(f"no Turnlog answers at {where}") from error
    except OSError as error:
        if asked:
            raise
        where = without_credentials(nats_url)
        raise ProjectorUnavailable(f"no Turnlog answers at {where}") from error
