"""The leader of the log is killed under load, again and again.

``TURNLOG_TEST_LEADERS_KILLED_S`` is for how many seconds, ``TURNLOG_TEST_KILL_EVERY_S`` how often.
"""

import itertools
import json
import os
import time

from schemas import subjects
from tests.cluster.audit import Findings, audit, summary, usable
from tests.cluster.load import Load
from tests.cluster.servers import Cluster
from tests.whole.running import Running, another_gateway, names, until

SECONDS = float(os.environ.get("TURNLOG_TEST_LEADERS_KILLED_S", "20"))
KILL_EVERY_S = float(os.environ.get("TURNLOG_TEST_KILL_EVERY_S", "8"))
DOWN_S = 1.0
"""Seconds a killed server stays away."""
WRITERS = 12
KILLS_MIN = 2
"""Leaders that are killed, however long that takes."""


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
        usable(clustered, diaries)
    report = {"kills": kills, **summary(load, findings)}
    print(json.dumps(report))  # noqa: T201 - the report is what a long run is for
    assert findings == Findings()
    assert not load.stale
    assert clustered.sql("SELECT count(*) FROM turns") == [(_turns(clustered),)]


def _turns(running: Running) -> int:
    """Turns the log knows of."""
    commits = (commit for stored in running.all_commits().values() for commit in stored)
    return sum("turn_requested" in names(commit) for commit in commits)


def _kill_leaders(servers: Cluster) -> int:
    """How many were killed."""
    deadline = time.monotonic() + SECONDS
    streams = itertools.cycle((subjects.CONVERSATIONS, subjects.TURN_REQUESTS))
    for kills, stream in enumerate(streams):
        due = time.monotonic() + KILL_EVERY_S
        if due > deadline and kills >= KILLS_MIN:
            return kills
        index = servers.leader(stream)
        servers.kill(index)
        time.sleep(DOWN_S)
        servers.start(index)
        time.sleep(max(0.0, due - time.monotonic()))
    raise AssertionError("a cycle has no end")
