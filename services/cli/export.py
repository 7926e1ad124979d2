"""``turnlog export``: the views as Parquet, or a conversation for somebody outside to check."""

import sys
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client

from services import clock
from services.audit import export as files
from services.audit.history import Histories
from services.audit.points import Point
from services.cli import auditing, options
from services.cli.whole_file import whole
from services.journal.jetstream import JetStreamJournal
from services.journal.signing import signing_key


class NotExported(click.ClickException):
    """The log does not hold what was written, or the file cannot be."""


@click.command(
    epilog="""\b
Examples:
  turnlog export parquet/
  turnlog export parquet/ --since 2026-11-01
  turnlog export --conversation conv_6b048e5ed5b7705826581c23b1323960 -o story.jsonl
  turnlog export --public-key > turnlog.pem
  python deploy/check_export.py story.jsonl turnlog.pem
"""
)
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--since",
    type=auditing.point,
    help="With DIR: leave out days and projects without a change after this sequence, or from this"
    " time (UTC) on. Without it: what has changed since the last export, or everything.",
)
@click.option("--conversation", help="Its id, or that of a response in it.")
@click.option("--public-key", is_flag=True, help="Print the key that exports are checked with.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; without it: standard output.",
)
@auditing.PROJECT
@options.running_nats_url
@options.data_dir
def export(
    directory: Path | None,
    *,
    since: Point | None,
    conversation: str | None,
    public_key: bool,
    output: Path | None,
    project: str,
) -> None:
    """Bring Parquet files in DIRECTORY up to date with the log.

    Tables: conversations, items, turns, compactions, events. There
    is a file for each table, day and project; manifest.json names them with their rows and
    SHA-256, and the sequence they stand at. All projects are exported. It may be broken off and
    begun again at any time.

    With --conversation: write a conversation as JSON lines that can be checked without Turnlog.
    Each line has a commit and its SHA-256, and each commit holds that of the one before. The last
    line is signed, with a key (Ed25519) that is kept with the log.
    """
    if sum((directory is not None, conversation is not None, public_key)) != 1:
        raise click.UsageError("name a directory or a --conversation, or ask for the --public-key")
    if directory is not None:
        from services.cli.export_parquet import export_parquet  # noqa: PLC0415 - Arrow is large

        export_parquet(directory, since=since)
        return
    if since is not None:
        raise click.UsageError("--since goes with a directory")
    if conversation is None:
        click.echo(auditing.on_log("export", _public_key), nl=False)
        return
    conversation_id = auditing.conversation_id_of(conversation)

    async def work(client: Client) -> int:
        return await _write(client, project, conversation_id, output)

    try:
        if not auditing.on_log("export", work):
            raise auditing.NothingFound(f"the log has no conversation {conversation_id}")
    except files.ChainBroken as broken:
        raise NotExported(str(broken)) from broken


async def _public_key(client: Client) -> str:
    return files.public_pem(await signing_key(client, Ed25519PrivateKey.generate()))


async def _write(client: Client, project: str, conversation_id: str, output: Path | None) -> int:
    """Lines written; a file is there when all of it is, or not at all."""
    key = await signing_key(client, Ed25519PrivateKey.generate())
    histories = Histories(JetStreamJournal(client))
    told = files.lines(histories, project, conversation_id, key=key, at=clock.now())
    count = 0
    if output is None:
        async for line in told:
            sys.stdout.buffer.write(line)
            count += 1
        return count
    with whole(output) as partial:
        with partial.open("wb") as written:
            async for line in told:
                written.write(line)
                count += 1
        if not count:
            raise auditing.NothingFound(f"the log has no conversation {conversation_id}")
    return count
