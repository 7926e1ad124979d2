"""The example questions, each on a log whose answer is known."""

from pathlib import Path

import msgspec
import pytest

from schemas.queries import SqlAnswer
from services.projector import query
from tests.builders import (
    added,
    call,
    compacted,
    compaction_item,
    completed,
    created,
    failed,
    message,
    output,
    requested,
    said,
)
from tests.projector.builders import Log, applied, opened
from tests.projector.serving import ROOT

QUERIES = sorted((ROOT / "deploy" / "queries").glob("*.sql"))


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    log = Log()
    log.commit("c1", created(user_id="a"))
    log.commit("c1", requested("r1", message("q1")))
    log.commit("c1", completed("r1", call("l1"), total=1_000_000))
    log.commit("c1", requested("r2", output("l1", text='{"error": "no such order"}')))
    log.commit("c1", completed("r2", call("l2"), call("l3"), total=2_000_000))
    log.commit("c1", added(output("l2")))
    log.commit("c1", compacted(compaction_item("p1"), covered=2, before=50, after=8))
    log.commit("c2", created(user_id="b"), requested("r3", message("q3")))
    log.commit("c2", failed("r3"))
    log.commit("c1", added(output("l3")), requested("r4", message("q4", tokens=30)))
    log.commit("c1", completed("r4", said("a4"), total=3_000_000))
    database = opened(tmp_path_factory.mktemp("views"))
    applied(database, log.messages)
    cursor = database.cursor()
    # A week later.
    cursor.execute(
        "UPDATE turns_ended SET requested_at = requested_at + INTERVAL 7 DAY,"
        " ended_at = ended_at + INTERVAL 7 DAY WHERE response_id = 'r4'"
    )
    cursor.close()
    yield database
    database.close()


MILLION = 1_000_000
DAY, LATER = "2025-10-24", "2025-10-31"
ANSWERS = {
    "compaction_savings": [("default", DAY, "summary", 1, 50, 8, 42, 42)],
    "cost": [
        ("default", "simulator", LATER, 1, 3 * MILLION, 0, 0, 3.0),
        ("default", "simulator", DAY, 2, 3 * MILLION, 0, 0, 3.0),
    ],
    "first_response": [("default", "2025-10-20", 2, 1, 1000, 1000, 1000)],
    "longest_conversations": [
        (
            "default",
            "c1",
            3 * MILLION,
            10,
            3,
            "a",
            0,
            f"{DAY}T15:10:54.250000",
            f"{DAY}T15:11:04.250000",
        ),
        ("default", "c2", 0, 0, 1, "b", 0, f"{DAY}T15:11:01.250000", f"{DAY}T15:11:02.250000"),
    ],
    "retention": [("default", "2025-10-20", 2, 50, 0, 0, 0, 0)],
    "tool_failures": [("default", "function_call", "look", 3, 1, 0, 33.3, 2000)],
    "turn_latency": [
        ("simulator", "completed", 3, 1000, 1000, 1000, 1000, 1),
        ("simulator", "failed", 1, 1000, 1000, 1000, 1000, 1),
    ],
}


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_an_example_question_is_answered_right(views, path: Path):
    answer = query.run(views.cursor(), path.read_text(), rows_max=100, bytes_max=MILLION)
    told = msgspec.json.decode(answer, type=SqlAnswer)
    assert list(told.rows) == ANSWERS[path.stem]


def test_every_example_question_has_its_answer_here():
    assert {path.stem for path in QUERIES} == ANSWERS.keys()
