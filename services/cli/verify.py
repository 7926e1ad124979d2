"""``turnlog verify``: whether the log is what was written."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client

from schemas import subjects
from services import clock
from services.audit.export import Exported, ExportInvalid, read
from services.audit.verification import Progress, Report, Verification
from services.cli import auditing, options
from services.journal.signing import signing_key

ORPHAN_AFTER_S = 120.0
FOUND = 1
"""Exit status where something was found."""


class ExportUnusable(click.ClickException):
    """There is nothing to compare the log with."""

    exit_code = 2


BLIND_SPOTS = """\b
What a chain cannot show:
* That the last commits of a conversation are gone. Where they were deleted
  the log has a gap, which is found without arguments. A log that was copied
  without them has none: compare it with an export (--against).
* A change of a conversation's last commit that leaves its outline right.
* A log that was written anew, from some commit on, by somebody who may
  write to it: compare it with an export, which is signed.
Bytes that rot on a disk are found before, by NATS, which has checksums.
"""


@click.command(
    epilog=BLIND_SPOTS
    + """
\b
Examples:
  turnlog verify
  turnlog verify --project default
  turnlog verify conv_6b048e5ed5b7705826581c23b1323960
  turnlog verify --against story.jsonl
  turnlog verify --json | jq -r 'select(.warning | not) | .sequence'
"""
)
@click.argument("conversations", nargs=-1)
@click.option("--project", help="All of this project; or whose the conversations are.")
@click.option("--all", "everything", is_flag=True, help="All of the log, as without arguments.")
@click.option("--json", "as_json", is_flag=True, help="Each finding as an object, one a line.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=max(1, min(4, os.cpu_count() or 1)),
    show_default=True,
    help="Processes that check a large log.",
)
@click.option(
    "--orphan-after-s",
    default=ORPHAN_AFTER_S,
    show_default=True,
    help="Seconds after which a turn that has not ended is looked for on the queue.",
)
@click.option(
    "--against",
    "exports",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An export to compare with the log; may be given several times.",
)
@options.running_nats_url
@options.data_dir
def verify(
    conversations: tuple[str, ...],
    *,
    project: str | None,
    everything: bool,
    as_json: bool,
    processes: int,
    orphan_after_s: float,
    exports: tuple[Path, ...],
) -> None:
    """Check CONVERSATIONS, or all of the log; exit 0 if it is whole, 1 if not, 2 if it is away.

    Looked at are the chain of digests, the order, versions of events, outlines (recomputed), and
    that each turn has ended once. A turn that nobody runs any more is a warning. Each finding names
    the subject and the sequence.
    """
    if everything and (conversations or project):
        raise click.UsageError("--all is without conversations and --project")
    wanted = _wanted(conversations, project)
    contents = [(path, path.read_bytes()) for path in exports]

    async def work(client: Client) -> Report:
        with _progress() as progress:
            look = Verification(
                client,
                await auditing.vault(client, demanded=False),
                processes=processes,
                orphan_after_s=orphan_after_s,
                progress=progress,
            )
            report = await look.run(wanted)
            differing = [
                finding
                for path, content in contents
                for finding in await look.compare(await _exported(client, path, content))
            ]
        return msgspec.structs.replace(report, findings=(*report.findings, *differing))

    report = auditing.on_log("verify", work)
    if conversations and not report.commits:
        raise auditing.NothingFound(f"the log has no conversation {', '.join(conversations)}")
    _write(report, as_json=as_json)
    if not report.clean:
        sys.exit(FOUND)


async def _exported(client: Client, path: Path, content: bytes) -> Exported:
    key = await signing_key(client, Ed25519PrivateKey.generate())
    try:
        return read(content, key.public_key())
    except ExportInvalid as error:
        raise ExportUnusable(f"{path}: {error}") from error


def _wanted(conversations: Sequence[str], project: str | None) -> list[str]:
    if conversations:
        of = project or subjects.DEFAULT_PROJECT
        names = map(auditing.conversation_id_of, conversations)
        return sorted({subjects.conversation(of, name) for name in names})
    return [subjects.conversation(project, subjects.ANY) if project else subjects.ALL_CONVERSATIONS]


def _write(report: Report, *, as_json: bool) -> None:
    for found in report.findings:
        if as_json:
            click.echo(msgspec.json.encode(found).decode())
            continue
        word = "warning" if found.warning else "finding"
        where = found.subject or "the log"
        click.echo(f"{word}  {found.sequence:>8}  {where}  {found.rule}: {found.says}")
    wrong = sum(not found.warning for found in report.findings)
    warnings = len(report.findings) - wrong
    said = f"{wrong} findings, {warnings} warnings" if report.findings else "nothing found"
    dark = f" ({report.sealed} of them sealed, and not looked into)" if report.sealed else ""
    click.echo(
        f"{report.commits} commits{dark} up to sequence {report.through}: {said}", err=as_json
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, with commits per second and the time that is left."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich import console, progress  # noqa: PLC0415 - only a terminal needs it

    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console.Console(stderr=True), transient=True) as shown:
        task, begun = shown.add_task("verify", total=None, rate=""), clock.monotonic()

        def reach(reached: int, last: int) -> None:
            rate = reached / max(0.001, clock.monotonic() - begun)
            shown.update(task, completed=reached, total=last, rate=f"{rate:,.0f} commits/s")

        yield reach


def _nothing(_reached: int, _last: int) -> None:
    """Nobody looks."""
