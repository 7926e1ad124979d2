"""What ``turnlog bench compaction`` found: tables for people, JSON for programs. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from services.bench.compaction.cycles import Cycle
from services.bench.compaction.facts import Fact
from services.bench.machine import Machine

RECALL_MIN = 0.95
"""Share of the facts that windows must hold, after every cycle."""
_MILLION = 1_000_000


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """Of a million tokens, in any currency; none where nobody has told them."""

    input: float | None = None
    output: float | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The cycles of one method; ``ours`` unless it is what ours are compared with."""

    name: str
    ours: bool
    cycles: tuple[Cycle, ...]

    @property
    def recall(self) -> float | None:
        """The least of any cycle; none if none could be seen."""
        seen = [cycle.recall for cycle in self.cycles if cycle.recall is not None]
        return min(seen, default=None)

    @property
    def met(self) -> bool | None:
        """Whether ours keeps what it must; none of what has no target, or could not be seen."""
        return self.recall >= RECALL_MIN if self.ours and self.recall is not None else None

    @property
    def ratio(self) -> float:
        """Tokens of windows after compactions, as a share of those before."""
        before = sum(cycle.tokens_before for cycle in self.cycles)
        return sum(cycle.tokens_after for cycle in self.cycles) / before if before else 1.0

    def cost(self, prices: Prices) -> float | None:
        """What all its calls cost; none without both prices."""
        if prices.input is None or prices.output is None:
            return None
        read = sum(cycle.input_tokens for cycle in self.cycles)
        written = sum(cycle.output_tokens for cycle in self.cycles)
        return (read * prices.input + written * prices.output) / _MILLION


def by_cycle(runs: Sequence[Run]) -> Table:
    """Recall and window of each cycle, the methods side by side."""
    drawn = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("cycle", justify="right", no_wrap=True)
    asked = any(cycle.asked is not None for run in runs for cycle in run.cycles)
    for run in runs:
        style = "" if run.ours else "dim"
        for heading in (run.name, *(("asked",) if asked else ()), "window"):
            drawn.add_column(heading, justify="right", no_wrap=True, style=style)
    for index in range(max((len(run.cycles) for run in runs), default=0)):
        cells: list[Text | str] = []
        for run in runs:
            cycle = run.cycles[index] if index < len(run.cycles) else None
            cells.append("" if cycle is None else _recall(cycle, run))
            if asked:
                cells.append(_share(cycle.asked if cycle else None))
            cells.append("" if cycle is None else _window(cycle))
        drawn.add_row(str(index + 1), *cells)
    return drawn


def by_method(runs: Iterable[Run], facts: Sequence[Fact], prices: Prices) -> Table:
    """What each method keeps, and what it costs."""
    kinds = {fact.id: fact.kind for fact in facts}
    drawn = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("method", no_wrap=True)
    for heading in ("cycles", "recall", "ratio", "calls", "tokens in", "out", "cost"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    drawn.add_column("made by")
    drawn.add_column("target", no_wrap=True)
    drawn.add_column("lost in the end", min_width=16)
    for run in runs:
        cost = run.cost(prices)
        last = run.cycles[-1] if run.cycles else None
        lost = Counter(kinds[each] for each in last.lost) if last else Counter()
        told = "" if last is None or last.sealed else _counted(lost) or "nothing"
        drawn.add_row(
            run.name,
            str(len(run.cycles)),
            _share(run.recall),
            f"{run.ratio:.2f}",
            f"{sum(cycle.calls for cycle in run.cycles):,}",
            f"{sum(cycle.input_tokens for cycle in run.cycles):,}",
            f"{sum(cycle.output_tokens for cycle in run.cycles):,}",
            "" if cost is None else f"{cost:,.4f}",
            _counted(Counter(_maker(cycle) for cycle in run.cycles)),
            verdict(run),
            told,
        )
    return drawn


def verdict(run: Run) -> Text:
    """The target of a method and whether it is met."""
    if run.met is None:
        return Text("")
    wanted = f">= {RECALL_MIN:g} {'met' if run.met else 'missed'}"
    return Text(wanted, "green" if run.met else "red")


def json(
    machine: Machine,
    settings: dict[str, object],
    facts: Sequence[Fact],
    runs: Iterable[Run],
    prices: Prices,
) -> bytes:
    """Everything for programs."""
    told = [
        {
            "name": run.name,
            "ours": run.ours,
            "recall": _rounded(run.recall),
            "recall_min": RECALL_MIN if run.ours else None,
            "met": run.met,
            "ratio": round(run.ratio, 4),
            "cost": run.cost(prices),
            "cycles": [
                {**msgspec.structs.asdict(cycle), "recall": _rounded(cycle.recall)}
                for cycle in run.cycles
            ],
        }
        for run in runs
    ]
    found = {"machine": machine, "settings": settings, "facts": facts, "methods": told}
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"


def _recall(cycle: Cycle, run: Run) -> Text:
    if cycle.recall is None:
        return Text("sealed")
    missed = run.ours and cycle.recall < RECALL_MIN
    return Text(_share(cycle.recall), "red" if missed else "")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _maker(cycle: Cycle) -> str:
    return f"{cycle.method} ({cycle.fallback})" if cycle.fallback else cycle.method


def _window(cycle: Cycle) -> str:
    return f"{cycle.tokens_before:,} > {cycle.tokens_after:,}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
