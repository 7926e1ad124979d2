"""The leader of the log is killed under load, again and again.

``TURNLOG_TEST_LEADERS_KILLED_S`` is for how many seconds, ``TURNLOG_TEST_KILL_EVERY_S`` how often.
"""

import itertools
import json
import os
import time

from schemas import subjects
from tests.cluster.audit import audit
from tests.cluster.load import Load
from tests.cluster.servers import Cluster
from tests.whole.running import MODEL, Running, another_gateway, until

SECONDS = float(os.environ.get("TURNLOG_TEST_LEADERS_KILLED_S", "20"))
KILL_EVERY_S = float(os.environ.get("TURNLOG_TEST_KILL_EVERY_S", "8"))
DOWN_S = 1.0
"""Seconds a killed server stays away."""
WRITERS = 12


def test_no_acked_event_is_lost_or_doubled_while_leaders_are_killed(
    clustered: Running, servers: Cluster
):
    with another_gateway(clustered) as url:
        load = Load([clustered.url, url], writers=WRITERS)
        load.start()
        kills = _kill_leaders(servers)
        until(lambda: servers.current(subjects.CONVERSATIONS), wait_s=60)
        load.stop()
        diaries = [diary for own in load.diaries for diary in own]
        findings = audit(clustered, diaries)
        with clustered.client() as client:
            for diary in diaries:
                last = client.responses.create(
                    model=MODEL, input="Still there?", conversation=diary.conversation_id
                )
                assert last.status == "completed"
    gaps = [after - before for before, after in itertools.pairwise(sorted(load.acked_at))]
    statuses = [status for diary in diaries for status in diary.responses.values()]
    report = {
        "acked": sum(len(marks) for diary in diaries for marks in diary.acked),
        "turns": load.turns,
        "turns_not_completed": len(statuses) - statuses.count("completed"),
        "kills": kills,
        "lost": len(findings.lost),
        "doubled": len(findings.doubled),
        "unknown": sum(len(diary.unknown) for diary in diaries),
        "stale": len(load.stale),
        "longest_stall_ms": round(1000 * max(gaps)),
        "longest_answer_ms": round(1000 * max(load.waits_s)),
        "sdk_errors": dict(load.errors),
    }
    print(json.dumps(report))  # noqa: T201 - the report is what a long run is for
    assert findings == type(findings)()
    assert not load.stale
    assert kills >= 2


def _kill_leaders(servers: Cluster) -> int:
    """How many were killed."""
    deadline = time.monotonic() + SECONDS
    streams = itertools.cycle((subjects.CONVERSATIONS, subjects.TURN_REQUESTS))
    for kills, stream in enumerate(streams):
        due = time.monotonic() + KILL_EVERY_S
        if due > deadline:
            return kills
        index = servers.leader(stream)
        servers.kill(index)
        time.sleep(DOWN_S)
        servers.start(index)
        time.sleep(max(0.0, due - time.monotonic()))
    raise AssertionError("a cycle has no end")
