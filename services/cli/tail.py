"""``turnlog tail``: the events of all conversations as they come, for as long as anybody looks."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

import click
import msgspec
import nats.errors
from nats.aio.client import Client

from schemas import envelope, subjects
from schemas.events import CLASSES
from schemas.upcasters import EventUnknown
from services import clock
from services.audit.points import Point
from services.cli import address, auditing, options
from services.cli.connection import connected
from services.cli.events import summary
from services.cli.show import shown_time
from services.journal import JournalUnavailable, following
from services.journal.following import Logged, LogMissing

AGAIN_S = 0.5
"""Time between attempts to reach a log that was there before."""


class Place:
    """How far the log was read; survives the connection it was read on."""

    def __init__(self, since: Point | None) -> None:
        self.after = since - 1 if isinstance(since, int) else None
        """Sequence of the last commit that was told; none: nothing was told yet."""
        self.since = since if isinstance(since, datetime) else None
        self.log = ""
        """When the log was made: it is another one if that changes."""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    sequence: int
    project: str
    conversation_id: str
    at: datetime
    actor: str
    type: str
    version: int
    data: msgspec.Raw


@click.command(
    epilog="""\b
Examples:
  turnlog tail
  turnlog tail --conversation conv_6b048e5ed5b7705826581c23b1323960
  turnlog tail --type turn_failed --type turn_cancelled
  turnlog tail --since 2026-11-25T15:04:05Z --json | jq -r .type
  turnlog tail --since 1
"""
)
@click.option("--project", help="Only events of this project.")
@click.option(
    "--conversation",
    "conversations",
    multiple=True,
    help="Only events of this one; may be given several times.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="EVENT",
    type=click.Choice(tuple(CLASSES)),
    help="Only events of this type; may be given several times.",
)
@click.option(
    "--since",
    type=auditing.point,
    help="Begin with this sequence of the log, or with this time (UTC); without it: now.",
)
@click.option("--json", "as_json", is_flag=True, help="Each event as an object, its data included.")
@options.running_nats_url
@options.data_dir
def tail(
    *,
    project: str | None,
    conversations: tuple[str, ...],
    types: tuple[str, ...],
    since: Point | None,
    as_json: bool,
) -> None:
    """Print every event as it is stored, one a line, until Ctrl-C.

    When the server goes away it is waited for: what happened meanwhile is printed then.
    """
    wanted = subjects_of(project, conversations)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_tail(wanted, frozenset(types), Place(since), as_json=as_json))


def subjects_of(project: str | None, conversations: Sequence[str]) -> list[str]:
    """What of the log is wanted."""
    if conversations:
        names = map(auditing.conversation_id_of, conversations)
        return sorted({subjects.conversation(project or subjects.ANY, name) for name in names})
    return [subjects.conversation(project, subjects.ANY) if project else subjects.ALL_CONVERSATIONS]


async def _tail(wanted: list[str], types: frozenset[str], place: Place, *, as_json: bool) -> None:
    reached = gone = False
    while True:
        try:
            async with connected(address.nats_url(), name="turnlog tail") as client:
                await _begin(client, place)
                vault = await auditing.vault(client)
                reached, gone = True, False
                async for batch in following.follow(
                    client, wanted, after=place.after or 0, since=place.since
                ):
                    for logged in await following.unsealed(batch, vault):
                        _write(logged, types, as_json=as_json)
                    place.after, place.since = batch[-1].sequence, None
        except (
            JournalUnavailable,
            LogMissing,
            address.NotRunning,
            nats.errors.Error,
            OSError,
            TimeoutError,
        ) as error:
            if isinstance(error, BrokenPipeError):
                raise
            if not reached:
                raise _unreadable(error) from error
            if not gone:
                click.echo("the log is away; waiting for it", err=True)
            gone = True
            await asyncio.sleep(AGAIN_S)


def _unreadable(error: Exception) -> click.ClickException:
    if isinstance(error, click.ClickException):
        return error
    return auditing.LogUnavailable(f"the log cannot be read: {error}")


async def _begin(client: Client, place: Place) -> None:
    """Find out where to go on."""
    log = await following.state(client)
    if place.log not in {"", log.created}:
        click.echo("this is another log, made anew: from its beginning", err=True)
        place.after, place.since = 0, None
    place.log = log.created
    if place.after is None and place.since is None:
        place.after = log.last_seq
    if place.since is not None and place.since > clock.now():
        click.echo("nothing is that late yet", err=True)


def _write(logged: Logged, types: frozenset[str], *, as_json: bool) -> None:
    if types and types.isdisjoint(logged.headers.get(envelope.EVENTS_HEADER, "").split(",")):
        return
    lines = list(_objects(logged, types) if as_json else _lines(logged, types))
    if lines:
        click.echo("\n".join(lines))


def _lines(logged: Logged, types: frozenset[str]) -> Iterator[str]:
    try:
        commit = envelope.decode(logged.payload)
    except msgspec.MsgspecError:
        yield f"{logged.sequence:>6}  cannot be read: see `turnlog verify`"
        return
    for event in commit.events:
        if types and event.type not in types:
            continue
        try:
            says = summary(envelope.unpack(event))
        except (EventUnknown, msgspec.MsgspecError) as error:
            says = str(error)
        at, name = shown_time(commit.at), f"{event.type:<22}"
        yield f"{logged.sequence:>6}  {at}  {commit.conversation_id}  {name}  {says}".rstrip()


def _objects(logged: Logged, types: frozenset[str]) -> Iterator[str]:
    try:
        commit = envelope.decode(logged.payload)
    except msgspec.MsgspecError:
        click.echo(f"{logged.sequence} cannot be read: see `turnlog verify`", err=True)
        return
    for event in commit.events:
        if not types or event.type in types:
            told = _Told(
                sequence=logged.sequence,
                project=commit.project,
                conversation_id=commit.conversation_id,
                at=commit.at,
                actor=commit.actor,
                type=event.type,
                version=event.version,
                data=event.data,
            )
            yield msgspec.json.encode(told).decode()
