"""``turnlog bench compaction``: what a window still holds after many compactions."""

import asyncio
import functools
import signal
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import Progress, TaskID

from services import telemetry
from services.bench import machine, system
from services.bench.compaction import chart, naive, report, talks, turnlog
from services.bench.compaction.cycles import Cycle, Memory, Plan, cycles
from services.bench.compaction.meter import Meter, metered
from services.bench.compaction.report import Prices, Run
from services.bench.compaction.talks import Talk
from services.settings import ModelSettings

ITEMS = 2_000
WIDTH = 132
"""Columns of the tables where nobody has a terminal."""
MODEL = "simulator-forgetful"
NAMES = (*turnlog.METHODS, naive.NAME)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    methods: tuple[str, ...]
    cycles: int
    items: int
    facts: int
    fact_turns: int
    conversations: Path | None
    tokens_budget: int
    seed: int
    model: str
    model_url: str | None
    model_api: str
    model_key: str
    ask: bool
    price_in: float | None
    price_out: float | None

    @property
    def prices(self) -> Prices:
        """What tokens cost."""
        return Prices(input=self.price_in, output=self.price_out)


@click.command(
    epilog="""\b
Examples:
  turnlog bench compaction
  turnlog bench compaction --json found.json --chart found.svg
  turnlog bench compaction --method summary --cycles 5 --items 600 --budget 4000
  turnlog bench compaction --conversations talks.jsonl --seed 7
  turnlog bench compaction --base-url https://api.openai.com/v1 --model gpt-5-mini --ask
"""
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice(NAMES),
    help="Only this one; may be given several times.",
)
@click.option(
    "--cycles",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="Compactions of each method.",
)
@click.option(
    "--conversations",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Real conversations, one JSON object a line with its `items`, instead of generated ones.",
)
@click.option(
    "--items",
    type=click.IntRange(min=10),
    default=ITEMS,
    show_default=True,
    help="Items of the conversation, if so many are needed.",
)
@click.option(
    "--facts",
    type=click.IntRange(1, 400),
    default=50,
    show_default=True,
    help="Facts that are planted.",
)
@click.option(
    "--fact-turns",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Turns at the beginning in which they are planted.",
)
@click.option(
    "--budget",
    "tokens_budget",
    type=click.IntRange(min=500),
    default=8_000,
    show_default=True,
    help="Tokens of a window above which it is compacted.",
)
@click.option("--seed", default=1, show_default=True, help="Of everything that is said.")
@click.option(
    "--model",
    default=MODEL,
    show_default=True,
    help="Who summarises; `simulator` is one that forgets little.",
)
@click.option(
    "--base-url",
    "--model-url",
    "model_url",
    help="OpenAI-compatible server of that model, with its /v1, instead of a simulator.",
)
@click.option(
    "--model-api",
    type=click.Choice(["responses", "chat"]),
    default="responses",
    show_default=True,
    help="Which of its APIs is used.",
)
@click.option(
    "--api-key",
    "--model-key",
    "model_key",
    envvar="TURNLOG_MODEL_KEY",
    default="bench",
    help="Its key; the variable TURNLOG_MODEL_KEY keeps it out of process lists.",
)
@click.option("--ask", is_flag=True, help="Ask the model for every fact as well; see `asked`.")
@click.option("--price-in", type=click.FloatRange(min=0), help="Of a million tokens read.")
@click.option("--price-out", type=click.FloatRange(min=0), help="Of a million tokens written.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write everything to this file as well.",
)
@click.option(
    "--chart",
    "chart_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw recall and windows into this file, .png or .svg.",
)
def compaction(
    methods: tuple[str, ...], *, json_file: Path | None, chart_file: Path | None, **others: object
) -> None:
    """Plant facts in a long conversation and look for them after each compaction.

    A fact is held if its value stands letter by letter in the window that the
    model would be sent. Each method has a Turnlog of its own, started for this on
    free ports and in a temporary folder; the naive one tells the whole window
    again as one text each time, with the same model.
    """
    if chart_file is not None:
        chart.check(chart_file)
    chosen = tuple(name for name in NAMES if name in (methods or NAMES))
    wanted = msgspec.convert({**others, "methods": chosen}, Wanted)
    telemetry.configure(process="bench", level="warning")
    talk = _talk(wanted)
    with tempfile.TemporaryDirectory(prefix="turnlog-bench-") as folder:
        measured_on = machine.here(Path(folder))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runs = runner.run(_measured(wanted, talk, Path(folder)))
            except asyncio.CancelledError as stopped:
                raise click.Abort from stopped
    settings = msgspec.to_builtins(wanted, builtin_types=(Path,), enc_hook=str)
    del settings["model_key"]
    if json_file is not None:
        told = report.json(measured_on, settings, talk.facts, runs, wanted.prices)
        json_file.write_bytes(told)
    if chart_file is not None:
        title = f"{len(talk.facts)} facts, {wanted.model}, budget {wanted.tokens_budget:,} tokens"
        chart.draw(chart_file, runs, title=title, tokens_budget=wanted.tokens_budget)
    _print(wanted, talk, runs)


def _talk(wanted: Wanted) -> Talk:
    made = talks.generated
    if wanted.conversations is not None:
        made = functools.partial(talks.recorded, wanted.conversations)
    return made(seed=wanted.seed, items=wanted.items, turns=wanted.fact_turns, count=wanted.facts)


async def _measured(wanted: Wanted, talk: Talk, folder: Path) -> list[Run]:
    running = asyncio.current_task()
    assert running is not None
    # As Ctrl-C, which asyncio turns into the same.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    runs: list[Run] = []
    console = Console(stderr=True)
    async with system.supervised(folder) as supervisor:
        url = wanted.model_url or await system.simulator(supervisor, folder)
        plan = Plan(
            talk=talk,
            cycles=wanted.cycles,
            tokens_budget=wanted.tokens_budget,
            model=msgspec.convert(
                {"model_url": url, "model_key": wanted.model_key, "model_api": wanted.model_api},
                ModelSettings,
            ),
            model_name=wanted.model,
            asks=wanted.ask,
        )
        with Progress(console=console, disable=not console.is_terminal) as progress:
            for name in wanted.methods:
                bar = progress.add_task(name, total=wanted.cycles)

                def say(cycle: Cycle, *, name: str = name, bar: TaskID = bar) -> None:
                    held = "sealed" if cycle.sealed else str(cycle.facts - len(cycle.lost))
                    line = f"{name}: {held} of {cycle.facts} facts"
                    progress.update(bar, completed=cycle.number, description=line)
                    if not console.is_terminal:
                        click.echo(f"cycle {cycle.number} of {wanted.cycles}, {line}", err=True)

                runs.append(await _run(plan, name, folder / name, say=say))
    return runs


async def _run(plan: Plan, name: str, folder: Path, *, say: Callable[[Cycle], None]) -> Run:
    found: list[Cycle] = []
    async with metered(plan.model.model_url) as meter, _memory(plan, meter, folder, name) as memory:
        async for cycle in cycles(plan, memory, meter):
            found.append(cycle)
            say(cycle)
    return Run(name=name, ours=name != naive.NAME, cycles=tuple(found))


def _memory(
    plan: Plan, meter: Meter, folder: Path, name: str
) -> AbstractAsyncContextManager[Memory]:
    if name == naive.NAME:
        return naive.remembering(plan, meter)
    return turnlog.remembering(plan, meter, folder, method=name)


def _print(wanted: Wanted, talk: Talk, runs: list[Run]) -> None:
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=WIDTH)
    console.print(report.by_cycle(runs), highlight=False)
    console.print(report.by_method(runs, talk.facts, wanted.prices), highlight=False)
    for run in runs:
        if len(run.cycles) < wanted.cycles:
            click.echo(f"{run.name}: the conversation has ended after {len(run.cycles)} cycles")
    said = sum(map(len, talk.turns))
    click.echo(
        f"{len(talk.facts)} facts in turns 1 to {wanted.fact_turns} of {len(talk.turns)}, "
        f"{said:,} items; seed {wanted.seed}, budget {wanted.tokens_budget:,} tokens, "
        f"summaries by {wanted.model}"
    )
