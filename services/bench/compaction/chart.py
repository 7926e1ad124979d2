"""The chart of ``turnlog bench compaction``, drawn by matplotlib, which only this needs."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.bench.compaction.report import RECALL_MIN, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg")
_INCHES = (9.0, 6.5)
_STYLES = ("o-", "s-", "^-", "D-")


def check(path: Path) -> None:
    """Raise what is wrong with a chart in this file, before anything takes its time."""
    if path.suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"a chart is one of {', '.join(SUFFIXES)}", param_hint="--chart")
    if importlib.util.find_spec("matplotlib") is None:
        raise click.UsageError("--chart needs matplotlib: pip install 'turnlog[bench]'")


def draw(path: Path, runs: Sequence[Run], *, title: str, tokens_budget: int) -> None:
    """Recall after each cycle, and below it the window that is left."""
    import matplotlib as mpl  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    # Its ids would be random otherwise, and two charts of the same figures differ.
    with mpl.rc_context({"svg.hashsalt": "turnlog", "font.size": 10}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        recall, window = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for number, run in enumerate(runs):
            style = _STYLES[number % len(_STYLES)] if run.ours else "x--"
            at = [cycle.number for cycle in run.cycles]
            held = [math.nan if each.recall is None else each.recall for each in run.cycles]
            recall.plot(at, held, style, label=run.name)
            window.plot(at, [cycle.tokens_after for cycle in run.cycles], style, label=run.name)
        recall.set_title(title, loc="left")
        recall.set_ylim(-0.03, 1.03)
        _labelled(recall, "facts held", limit=RECALL_MIN, meaning=f"target {RECALL_MIN:g}")
        _labelled(window, "tokens after", limit=tokens_budget, meaning="budget")
        window.set_ylim(bottom=0)
        window.set_xlabel("cycle of compaction")
        window.xaxis.get_major_locator().set_params(integer=True)
        # So would a date.
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
        figure.savefig(path, dpi=150, metadata=metadata)


def _labelled(axes: "Axes", name: str, *, limit: float, meaning: str) -> None:
    axes.axhline(limit, color="grey", linewidth=0.8, linestyle=":", label=meaning)
    axes.set_ylabel(name)
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False, loc="best")
