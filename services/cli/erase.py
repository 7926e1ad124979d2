"""``turnlog erase``: conversations of which nothing is to be left."""

import asyncio
from pathlib import Path

import click
import msgspec
import nats.errors
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client

from schemas import subjects
from schemas.queries import Health, Sql
from services import clock, faults, ids
from services.cli import address, auditing, options
from services.cli.sql import ask
from services.cli.whole_file import whole
from services.conversation.refusals import ConversationUnknown
from services.erasure.erase import Erased, Eraser
from services.erasure.proof import proof
from services.journal.signing import signing_key

VIEWS_S_MAX = 30.0
"""Seconds the views are given to let go of what was erased."""
ASK_S = 2.0
ROWS_MAX = 100_000


class NotErased(click.ClickException):
    """What is to be erased cannot be found."""


def _pair(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and "=" not in value:
        raise click.BadParameter("expected KEY=VALUE")
    return value


@click.command(
    epilog="""\b
Examples:
  turnlog erase conv_6b048e5ed5b7705826581c23b1323960 --dry-run
  turnlog erase conv_6b048e5ed5b7705826581c23b1323960 --proof erased.jsonl
  turnlog erase --metadata user_id=user_123 --project acme
"""
)
@click.argument("conversations", nargs=-1)
@click.option(
    "--metadata",
    "pair",
    metavar="KEY=VALUE",
    callback=_pair,
    help="All conversations that have this in their metadata now.",
)
@auditing.PROJECT
@click.option("--dry-run", is_flag=True, help="Only print what would be erased.")
@click.option(
    "--proof",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for what was done, with digests, signed.",
)
@options.running_nats_url
@options.data_dir
def erase(
    conversations: tuple[str, ...],
    *,
    pair: str | None,
    project: str,
    dry_run: bool,
    path: Path | None,
) -> None:
    """Erase CONVERSATIONS for good: their key, or what was not encrypted, and every trace of them.

    The log keeps that they were, how many commits they had, and their digests. Asked again, an
    erasure that was cut short is finished. Forks are conversations of their own: erase them too.
    """
    if bool(conversations) == (pair is not None):
        raise click.UsageError("name conversations, or --metadata")
    faults.arm()
    wanted = [auditing.conversation_id_of(each) for each in conversations]
    if pair is not None:
        wanted = asyncio.run(_having(project, pair))

    async def work(client: Client) -> list[Erased]:
        eraser = Eraser(client, await auditing.vault(client), actor=f"cli-{ids.unique()}")
        if dry_run:
            for each in wanted:
                click.echo(f"{each}  {await eraser.known(project, each)} commits")
            return []
        done = [await _erase(eraser, project, each) for each in wanted]
        if path is not None:
            key = await signing_key(client, Ed25519PrivateKey.generate())
            with whole(path) as partial:
                partial.write_bytes(proof(done, key, at=clock.now()))
        if done and not await _views_reached(client, max(each.sequence for each in done)):
            click.echo("the views do not follow the log now: they let go when they do", err=True)
        return done

    try:
        auditing.on_log("erase", work)
    except ConversationUnknown as unknown:
        raise auditing.NothingFound(unknown.message) from unknown


async def _erase(eraser: Eraser, project: str, conversation_id: str) -> Erased:
    done = await eraser.erase(project, conversation_id)
    how = f"key {done.key} destroyed" if done.key else "no key"
    counts = (
        f"{done.requests} requests, {done.deltas} deltas, {done.claims} keys, "
        f"{done.marks} marks, {done.parked} parked"
    )
    click.echo(
        f"{conversation_id}  erased at {done.sequence}: {done.commits} commits ({done.removed} "
        f"removed), {how}; {counts}"
    )
    return done


async def _having(project: str, pair: str) -> list[str]:
    """Conversations by their metadata, as the views have it."""
    key, _, value = pair.partition("=")
    name, text = (msgspec.json.encode(key).decode(), value)
    statement = (
        "SELECT conversation_id FROM conversations "  # noqa: S608 - quoted
        f"WHERE project = {_quoted(project)} "
        f"AND json_extract_string(metadata, {_quoted('$.' + name)}) = {_quoted(text)} "
        "ORDER BY conversation_id"
    )
    question = Sql(statement=statement, rows_max=ROWS_MAX, pieces=True)
    answer = await ask(address.nats_url(), question)
    if answer.error is not None:
        raise NotErased(answer.error)
    if answer.truncated:
        click.echo(f"the first {ROWS_MAX:,} are erased: run it again for the rest", err=True)
    return [str(row[0]) for row in answer.rows]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def _views_reached(client: Client, sequence: int) -> bool:
    until = clock.monotonic() + VIEWS_S_MAX
    while clock.monotonic() < until:
        try:
            answer = await client.request(subjects.ask_health("projector"), timeout=ASK_S)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            return False
        if (msgspec.json.decode(answer.data, type=Health).sequence or 0) >= sequence:
            return True
        await asyncio.sleep(0.05)
    return False
