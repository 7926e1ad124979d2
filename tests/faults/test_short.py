"""A short run of everything: clients of all kinds while all there is dies."""

from pathlib import Path

import pytest

from tests.faults.harness import run
from tests.faults.test_steps import SEEDS

SECONDS = 20.0
FIRST_SEED = 7


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_locked_whatever_dies(tmp_path: Path, seed: int):
    report = run(tmp_path / "run", seed=FIRST_SEED + seed, seconds=SECONDS)

    assert report.violations == [], "\n".join(report.lines())
    assert sum(report.happened.values()) > 3
    assert sum(report.turns.values()) > 50
