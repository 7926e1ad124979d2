"""``turnlog bench compaction`` for real, in short: few cycles of a small conversation."""

import os
import secrets
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.whole.running import PYTHON, SESSION, own

CYCLES_SHORT = 3
CYCLES = int(os.environ.get("TURNLOG_TEST_COMPACTION_CYCLES", CYCLES_SHORT))
"""More of them have the whole conversation of 2,000 items, and both models."""
SHORT = ("--items", "260", "--facts", "14", "--fact-turns", "14", "--budget", "4000")
MODELS = ("simulator-forgetful", "simulator")
RECALL_MIN = 0.95


@pytest.mark.parametrize("model", MODELS if CYCLES > CYCLES_SHORT else MODELS[:1])
def test_what_was_said_early_is_in_every_later_window(tmp_path: Path, model: str):
    size = SHORT if CYCLES <= CYCLES_SHORT else ()
    found, chart = tmp_path / "found.json", tmp_path / "chart.svg"
    files = ("--json", str(found), "--chart", str(chart))
    command = (
        "services.cli",
        "bench",
        "compaction",
        "--cycles",
        str(CYCLES),
        "--model",
        model,
        "--ask",
    )

    done = subprocess.run(
        [*PYTHON, *command, *size, *files],
        env=own(f"{SESSION}-{secrets.token_hex(4)}"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60 * CYCLES / CYCLES_SHORT,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = msgspec.json.decode(found.read_bytes())
    methods = {each["name"]: each for each in told["methods"]}
    baseline = methods.pop("naive")
    for name, each in methods.items():
        cycles = each["cycles"]
        if each["recall"] is None:
            assert all(cycle["sealed"] for cycle in cycles)
            continue
        assert [cycle["number"] for cycle in cycles] == list(range(1, CYCLES + 1)), name
        assert each["recall"] == min(cycle["recall"] for cycle in cycles if not cycle["sealed"])
        assert each["recall"] >= RECALL_MIN, f"{name}: {cycles}"
        assert all(cycle["tokens_after"] < cycle["tokens_before"] for cycle in cycles)
        assert cycles[-1]["facts"] == len(told["facts"])
        assert cycles[-1]["asked"] > baseline["cycles"][-1]["asked"]
    assert len(baseline["cycles"]) >= CYCLES_SHORT
    assert all(cycle["calls"] == 1 for cycle in baseline["cycles"])
    if model == "simulator-forgetful":
        assert baseline["recall"] < min(each["recall"] or 1.0 for each in methods.values())
    for name in (*methods, "naive"):
        assert name in done.stdout
        assert name in chart.read_text()
