"""``turnlog replay``: the views built again from the log, into a file or beside the live ones."""

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import nats.errors
import nats.js.errors
import structlog
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas import subjects
from schemas.queries import DigestAnswer, Rebuild, Rebuilding
from services import clock, settings
from services.cli import address, options
from services.cli.connection import connected
from services.cli.sql import ProjectorUnavailable
from services.journal.connect import without_credentials

if TYPE_CHECKING:
    from services.projector.replay import Replay

TELL_S = 0.2
SILENCE_S = 15.0
"""Seconds without a word after which the projector counts as gone."""


class ReplayFailed(click.ClickException):
    """The views could not be built, or hold something else than those that answer."""


class Bar:
    """How far it is, on standard error."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("building", total=None, rate="")
        self._begun = clock.monotonic()

    def show(self, *, sequence: int, end: int, events: int, doing: str = "building") -> None:
        """``sequence`` of ``end``, ``events`` since it was begun."""
        rate = events / max(clock.monotonic() - self._begun, 0.001)
        self._progress.update(
            self._task,
            description=doing,
            completed=min(sequence, end),
            total=end,
            rate=f"{rate:,.0f} events/s",
        )


@click.command(
    epilog="""\b
Examples:
  turnlog replay --into again.duckdb            build views again, compare with those that answer
  turnlog replay --into audit.duckdb --nats-url nats://token@queue:4222
  turnlog replay --live                         build them beside those that answer, and switch
  turnlog replay --rollback                     back to the views before the last switch
"""
)
@click.option(
    "--into",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Build the views into FILE, which must not exist; compare them if a projector runs.",
)
@click.option("--live", is_flag=True, help="Have the projector build its views again, and switch.")
@click.option(
    "--rollback", is_flag=True, help="Have the projector go back to the views it had before."
)
@click.option(
    "--differing", is_flag=True, help="With --live: switch though the views turn out to differ."
)
@options.running_nats_url
@options.data_dir
def replay(into: Path | None, *, live: bool, rollback: bool, differing: bool) -> None:
    """Build the views again from the log.

    Stops with status 1 at an event that cannot be projected, and if what was built is not what the
    projector has at the same sequence.
    """
    if sum((into is not None, live, rollback)) != 1:
        raise click.UsageError("choose one of --into, --live and --rollback")
    if differing and not live:
        raise click.UsageError("--differing goes with --live")
    url = address.nats_url()
    if into is None:
        work = _on_projector(url, Rebuild(differing=differing, rollback=rollback))
    elif into.exists():
        raise click.UsageError(f"{into} exists")
    else:
        work = _into(url, into)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except nats.js.errors.NotFoundError as error:
        raise ReplayFailed("the server has no log of Turnlog's") from error
    except nats.errors.NoRespondersError as error:
        raise ProjectorUnavailable("no projector runs: see `turnlog projector --help`") from error
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise ReplayFailed(f"no Turnlog answers at {without_credentials(url)}") from error


async def _into(url: str, path: Path) -> None:
    # DuckDB and Arrow take half a second to import: not for who asks a projector to do it.
    from services.projector.app import COLLECTED_OBJECTS, SWITCH_S  # noqa: PLC0415
    from services.projector.replay import ReplayStopped, replaying  # noqa: PLC0415
    from services.projector.settings import ProjectorSettings  # noqa: PLC0415

    # What stops it is raised as well.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.set_threshold(COLLECTED_OBJECTS)
    sys.setswitchinterval(SWITCH_S)
    settings.override({"TURNLOG_NATS_URL": url})
    begun = clock.monotonic()
    try:
        async with replaying(path, settings.read(ProjectorSettings)) as views:
            end = await views.last_sequence()
            with _bar() as bar:
                await _follow(views, end, bar)
                took_s, events = clock.monotonic() - begun, views.projection.events
                bar.show(sequence=end, end=end, events=events, doing="comparing")
                live = await views.live_digest(sequence=end)
                if live is not None and live.error is None:
                    await _follow(views, live.sequence, bar)
                own = await views.digest()
    except ReplayStopped as stopped:
        raise ReplayFailed(f"{stopped}; {path} was not made") from stopped
    click.echo(
        f"{path} stands at {own.sequence:,}: {events:,} events in {took_s:.1f} s, "
        f"{events / took_s:,.0f} events/s"
    )
    _compare(own, live)


async def _follow(views: "Replay", end: int, bar: Bar) -> None:
    arrived = False
    while not arrived:
        arrived = await views.reached(end, wait_s=TELL_S)
        at = views.projection
        bar.show(sequence=at.sequence, end=end, events=at.events)


def _compare(own: DigestAnswer, live: DigestAnswer | None) -> None:
    if live is None:
        click.echo("compared with nothing: no projector runs", err=True)
    elif live.error is not None:
        raise ReplayFailed(f"the projector's views cannot be compared: {live.error}")
    elif differ := sorted(
        name
        for name in own.tables.keys() | live.tables.keys()
        if own.tables.get(name) != live.tables.get(name)
    ):
        raise ReplayFailed(f"the projector has other rows at {live.sequence:,} {_named(differ)}")
    else:
        click.echo(f"equal to the projector's views at {live.sequence:,}")


async def _on_projector(url: str, asked: Rebuild) -> None:
    async with connected(url, name="turnlog replay") as client:
        with _bar() as bar:
            told = await _asked(client, asked, bar)
    if told.error is not None:
        raise ReplayFailed(told.error)
    if told.compared:
        compared = f"differ {_named(told.differ)}" if told.differ else "are equal"
        click.echo(f"at {told.compared:,} the new views and those that answered {compared}")
    if not told.switched:
        raise ReplayFailed("the views that answered still do: see --differing")
    click.echo(
        f"the new views answer at {told.sequence:,}; the switch took {told.switch_ms} ms. "
        "Those before them are kept for --rollback"
    )


async def _asked(client: Client, asked: Rebuild, bar: Bar) -> Rebuilding:
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    await client.publish(subjects.ask("rebuild"), msgspec.json.encode(asked), reply=inbox)
    while True:
        told = _told(await answers.next_msg(timeout=SILENCE_S))
        bar.show(
            sequence=told.sequence,
            end=told.log_sequence,
            events=told.events,
            doing="comparing" if told.comparing else "building",
        )
        if told.done:
            return told


def _told(message: Msg) -> Rebuilding:
    if not message.data:
        raise nats.errors.NoRespondersError
    return msgspec.json.decode(message.data, type=Rebuilding)


def _named(tables: list[str] | tuple[str, ...]) -> str:
    return f"in {', '.join(tables)}"


@contextmanager
def _bar() -> Iterator[Bar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)
