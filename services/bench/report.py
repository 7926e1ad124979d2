"""What ``turnlog bench`` found: figures of samples, targets, the table and the JSON of them.

Pure.
"""

from collections.abc import Iterable, Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from services.bench.machine import Machine


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Samples in numbers; times are none where single calls were not timed."""

    count: int
    per_s: float
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What must be reached on a small machine; exactly one of the two is given."""

    added_ms_max: float | None = None
    per_s_min: float | None = None


TARGETS: dict[tuple[str, int], Target] = {
    ("fresh, first token", 1): Target(added_ms_max=6.0),
    ("conversation, first token", 1): Target(added_ms_max=6.0),
    ("conversation, plain", 16): Target(per_s_min=150.0),
    ("items.create", 16): Target(per_s_min=1_000.0),
    ("replay", 1): Target(per_s_min=30_000.0),
}
"""By name of the measure and number of clients."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured, and the same without Turnlog, where that exists.

    ``load_cpu`` is the share of one core the load client itself used.
    """

    name: str
    clients: int
    figures: Figures
    direct: Figures | None = None
    load_cpu: float = 0.0
    detail: str = ""

    @property
    def added_ms(self) -> float | None:
        """Milliseconds the median is later than the direct one."""
        if self.direct is None or self.figures.p50_ms is None or self.direct.p50_ms is None:
            return None
        return self.figures.p50_ms - self.direct.p50_ms

    @property
    def ratio(self) -> float | None:
        """How many times the direct median this one is."""
        if self.direct is None or self.figures.p50_ms is None or not self.direct.p50_ms:
            return None
        return self.figures.p50_ms / self.direct.p50_ms

    @property
    def target(self) -> Target | None:
        """What this must reach."""
        return TARGETS.get((self.name, self.clients))

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; none if there is none or nothing to compare with."""
        if self.target is None:
            return None
        if self.target.per_s_min is not None:
            return self.figures.per_s >= self.target.per_s_min
        assert self.target.added_ms_max is not None
        return None if self.added_ms is None else self.added_ms <= self.target.added_ms_max


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least of the ``ordered`` values that ``share`` (0 to 1) of them do not exceed."""
    assert ordered
    rank = -int(-share * len(ordered) // 1)
    return ordered[max(rank, 1) - 1]


def figures(samples_s: Iterable[float], *, elapsed_s: float) -> Figures:
    """What samples come to, taken within ``elapsed_s`` seconds."""
    ordered = sorted(samples_s)
    p50, p95, p99 = (round(percentile(ordered, share) * 1000, 3) for share in (0.5, 0.95, 0.99))
    return Figures(
        count=len(ordered),
        per_s=round(len(ordered) / elapsed_s, 1),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )


def table(measures: Iterable[Measure]) -> Table:
    """The figures for people."""
    drawn = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("times in ms", no_wrap=True)
    for heading in ("clients", "p50", "p95", "p99", "per s"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for heading in ("direct p50", "per s", "added", "ratio"):
        drawn.add_column(heading, justify="right", no_wrap=True, style="dim")
    drawn.add_column("target", no_wrap=True)
    for measure in measures:
        own, direct = measure.figures, measure.direct
        drawn.add_row(
            measure.name,
            str(measure.clients),
            _ms(own.p50_ms),
            _ms(own.p95_ms),
            _ms(own.p99_ms),
            f"{own.per_s:,.0f}",
            _ms(direct.p50_ms if direct else None),
            f"{direct.per_s:,.0f}" if direct else "",
            _ms(measure.added_ms),
            "" if measure.ratio is None else f"{measure.ratio:.1f}x",
            verdict(measure),
        )
    return drawn


def verdict(measure: Measure) -> Text:
    """The target of a measure and whether it is met."""
    target = measure.target
    if target is None:
        return Text("")
    if target.per_s_min is not None:
        wanted = f">= {target.per_s_min:,.0f}/s"
    else:
        wanted = f"added <= {target.added_ms_max:g}"
    if measure.met is None:
        return Text(wanted)
    return Text(f"{wanted} {'met' if measure.met else 'missed'}", "green" if measure.met else "red")


def json(machine: Machine, settings: dict[str, object], measures: Iterable[Measure]) -> bytes:
    """Everything for programs."""
    told = [
        {
            **msgspec.structs.asdict(measure),
            "added_ms": None if measure.added_ms is None else round(measure.added_ms, 3),
            "ratio": None if measure.ratio is None else round(measure.ratio, 3),
            "target": measure.target,
            "met": measure.met,
        }
        for measure in measures
    ]
    found = {"machine": machine, "settings": settings, "measures": told}
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
