"""``turnlog bench``: turns, items and replay, measured beside the same calls without Turnlog.

What compactions keep is a subcommand of it.
"""

import asyncio
import functools
import importlib
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console

from services import telemetry
from services.bench import machine, report, system
from services.bench.load import Client, WireClient
from services.bench.machine import Machine
from services.bench.replay import replay
from services.bench.report import Measure
from services.bench.scenarios import Plan, items_create, items_list, turns
from services.bench.system import Servers

SECONDS = 4.0
SECONDS_QUICK = 1.0
COMMAND_LINE = click.core.ParameterSource.COMMANDLINE
WIDTH = 132
"""Columns of the table where nobody has a terminal."""

Scenario = Callable[[Plan], AsyncIterator[Measure]]
SCENARIOS: dict[str, Scenario] = {
    "turns-fresh": functools.partial(turns, in_conversation=False),
    "turns-conversation": functools.partial(turns, in_conversation=True),
    "items-create": items_create,
    "items-list": items_list,
}
REPLAY = "replay"
SQL = "sql"
"""Takes minutes, most of them to make the views: only run when it is named."""
COMPACTION = "compaction"


class Bench(click.Group):
    """The benchmark of speed, unless the one subcommand is chosen, which is imported only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Its name."""
        del ctx
        return [COMPACTION]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command behind ``cmd_name``; none if it is another name."""
        del ctx
        if cmd_name != COMPACTION:
            return None
        command = importlib.import_module("services.bench.compaction.command").compaction
        assert isinstance(command, click.Command)
        return command


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    scenarios: tuple[str, ...]
    seconds: float
    turns_per_conversation: int
    events: int
    items: int
    client: str
    base_url: str | None
    direct_url: str | None
    api_key: str
    seed: int


@click.group(
    cls=Bench,
    invoke_without_command=True,
    epilog="""\b
Examples:
  turnlog bench
  turnlog bench --quick --json bench.json
  turnlog bench --scenario turns-conversation --scenario replay
  turnlog bench --client openai --scenario turns-fresh
  turnlog bench --base-url http://127.0.0.1:8321/v1 --direct-url http://127.0.0.1:9000/v1
  turnlog bench compaction
""",
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice([*SCENARIOS, REPLAY, SQL]),
    help="Only this one; may be given several times.",
)
@click.option("--quick", is_flag=True, help=f"--seconds {SECONDS_QUICK:g}: a first impression.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=SECONDS,
    show_default=True,
    help="Seconds of load for each measure, and as many for the same without Turnlog.",
)
@click.option(
    "--turns-per-conversation",
    type=click.IntRange(min=2, max=500),
    default=20,
    show_default=True,
    help="Turns after which a client begins another conversation.",
)
@click.option(
    "--events",
    type=click.IntRange(min=1_000),
    default=20_000,
    show_default=True,
    help="Events that are replayed.",
)
@click.option(
    "--items",
    type=click.IntRange(min=1_000),
    default=1_000_000,
    show_default=True,
    help="Items the example questions are asked of; only with --scenario sql.",
)
@click.option(
    "--client",
    type=click.Choice(["wire", "openai"]),
    default="wire",
    show_default=True,
    help="wire costs the machine least; openai is what users of the openai package see.",
)
@click.option(
    "--base-url",
    help="Measure this OpenAI-compatible server, with its /v1, instead of starting Turnlog. "
    "Its model must be a `turnlog simulator`: answers are checked.",
)
@click.option("--direct-url", help="The simulator behind --base-url, to compare with.")
@click.option("--api-key", default="bench", help="Key for --base-url.")
@click.option("--seed", default=1, show_default=True, help="Of everything that is said.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write everything to this file as well.",
)
@click.pass_context
def bench(
    context: click.Context,
    /,
    scenarios: tuple[str, ...],
    *,
    quick: bool,
    seconds: float,
    json_file: Path | None,
    base_url: str | None,
    direct_url: str | None,
    **others: object,
) -> None:
    """Measure turns, items and replay beside the same calls made directly to the model.

    Everything is started for this on free ports and in a temporary folder: a
    simulated model and a Turnlog in front of it. Any wrong answer fails it.
    """
    if context.invoked_subcommand is not None:
        if any(context.get_parameter_source(name) is COMMAND_LINE for name in context.params):
            raise click.UsageError(f"options go behind {context.invoked_subcommand}")
        return
    if direct_url and not base_url:
        raise click.UsageError("--direct-url goes with --base-url")
    known = [*SCENARIOS, *([] if base_url else [REPLAY, SQL])]
    if base_url and {REPLAY, SQL} & {*scenarios}:
        raise click.UsageError(
            "replay and sql need the log, which a server behind --base-url keeps"
        )
    wanted = msgspec.convert(
        {
            **others,
            "scenarios": [name for name in known if name in (scenarios or {*known} - {SQL})],
            "seconds": SECONDS_QUICK if quick else seconds,
            "base_url": base_url and base_url.rstrip("/"),
            "direct_url": direct_url and direct_url.rstrip("/"),
        },
        Wanted,
    )
    telemetry.configure(process="bench", level="warning")
    with tempfile.TemporaryDirectory(prefix="turnlog-bench-") as folder:
        measured_on = machine.here(Path(folder))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                measures = runner.run(_measured(wanted, Path(folder)))
            except asyncio.CancelledError as stopped:
                raise click.Abort from stopped
    settings = {**msgspec.structs.asdict(wanted), "sync": _sync(wanted)}
    del settings["api_key"]
    if json_file is not None:
        json_file.write_bytes(report.json(measured_on, settings, measures))
    _print(measured_on, wanted, measures)


async def _measured(wanted: Wanted, folder: Path) -> list[Measure]:
    running = asyncio.current_task()
    assert running is not None
    # As Ctrl-C, which asyncio turns into the same.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    found: list[Measure] = []
    console = Console(stderr=True)
    with console.status("starting") as status:

        def say(line: str) -> None:
            status.update(line)
            if not console.is_terminal:
                click.echo(line, err=True)

        if set(wanted.scenarios) - {REPLAY, SQL}:
            async for measure in _asked(wanted, folder, say):
                found.append(measure)
                say(f"{measure.name}, {measure.clients} clients: {measure.figures.per_s:,.0f}/s")
        if REPLAY in wanted.scenarios:
            found.append(await replay(folder, seed=wanted.seed, events=wanted.events, say=say))
        if SQL in wanted.scenarios:
            # DuckDB and Arrow take half a second to import: only where they are needed.
            from services.bench.sql import sql  # noqa: PLC0415

            found += await asyncio.to_thread(
                lambda: list(sql(folder, seed=wanted.seed, items=wanted.items, say=say))
            )
    return found


async def _asked(
    wanted: Wanted, folder: Path, say: Callable[[str], None]
) -> AsyncIterator[Measure]:
    async with system.supervised(folder) as supervisor:
        if wanted.base_url is None:
            say("starting a simulator and Turnlog")
            servers = await system.start(supervisor, folder)
        else:
            servers = Servers(url=wanted.base_url, direct_url=wanted.direct_url)
        plan = Plan(
            servers=servers,
            client=_client(wanted),
            seed=wanted.seed,
            seconds=wanted.seconds,
            turns_per_conversation=wanted.turns_per_conversation,
        )
        for name in wanted.scenarios:
            if name not in {REPLAY, SQL}:
                say(name)
                async for measure in SCENARIOS[name](plan):
                    yield measure


def _client(wanted: Wanted) -> Callable[[str], Client]:
    if wanted.client == "wire":
        return functools.partial(WireClient, key=wanted.api_key)
    from services.bench.sdk import SdkClient  # noqa: PLC0415 - half a second others do without

    return functools.partial(SdkClient, key=wanted.api_key)


def _sync(wanted: Wanted) -> str:
    return "unknown" if wanted.base_url else "always"


def _print(machine: Machine, wanted: Wanted, measures: list[Measure]) -> None:
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=WIDTH)
    console.print(report.table(measures), highlight=False)
    for measure in measures:
        if measure.detail:
            click.echo(f"{measure.name}, {measure.clients} clients: {measure.detail}")
    busiest = max(measure.load_cpu for measure in measures)
    click.echo(
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}; "
        f"a synced write takes {machine.file_sync_ms:g} ms; load before {machine.load:g}"
    )
    click.echo(", ".join(f"{name} {version}" for name, version in machine.versions.items()))
    click.echo(
        f"seed {wanted.seed}, {wanted.seconds:g} s a measure and side, sync {_sync(wanted)}, "
        f"client {wanted.client} on the same machine (up to {busiest:.0%} of a core)"
    )
