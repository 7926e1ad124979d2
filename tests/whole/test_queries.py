"""The example questions on conversations that were led: see `tests.whole.conversing`."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from services.cli.main import main
from tests.whole.conversing import Led, lead, recorded
from tests.whole.running import ROOT, Running, together

QUERIES = ROOT / "deploy" / "queries"


@pytest.fixture(scope="module")
def led(shared: Running) -> list[Led]:
    with shared.client() as client:
        return together(lambda each: lead(client, each), recorded(range(6)), workers=4)


def asked(running: Running, name: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(
        main,
        ["sql", "-f", str(QUERIES / f"{name}.sql"), "--format", "json"],
        env={"TURNLOG_NATS_URL": running.nats_url},
    )
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_every_question_is_answered(shared: Running, led: list[Led]):
    turns, calls = sum(each.turns for each in led), sum(each.calls for each in led)
    answers = {path.stem: asked(shared, path.stem) for path in sorted(QUERIES.glob("*.sql"))}
    # Others may be at work on the same instance.
    assert sum(row["turns"] for row in answers["turn_latency"]) >= turns
    assert sum(row["answers"] for row in answers["cost"]) >= turns
    assert all(row["dollars"] > 0 for row in answers["cost"] if row["model"] == "simulator")
    assert sum(row["calls"] for row in answers["tool_failures"]) >= calls
    assert sum(row["conversations"] for row in answers["first_response"]) >= len(led)
    assert sum(row["users"] for row in answers["retention"]) >= len(led)
    assert answers["longest_conversations"]
    assert answers.keys() >= {"compaction_savings"}
