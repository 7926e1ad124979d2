"""What a load was told, held against the log."""

import itertools
import re
from collections import Counter
from typing import Any

import msgspec

from schemas import envelope
from services.journal import Stored
from tests.cluster.load import Diary, Load
from tests.whole.running import MODEL, Running, folded, until

_MARK = re.compile(rb"<\d+>")
_ENDS = {"turn_completed", "turn_failed", "turn_cancelled"}


class Findings(msgspec.Struct):
    """What is wrong, each named; nothing, if all is well."""

    lost: list[str] = []
    doubled: list[str] = []
    disordered: list[str] = []
    unended: list[str] = []


def audit(running: Running, diaries: list[Diary]) -> Findings:
    """Compare, once nothing runs any more."""
    until(lambda: running.turns_waiting() == 0, wait_s=120)
    stored = running.all_commits()
    findings = Findings()
    ids = Counter(commit.message_id for commits in stored.values() for commit in commits)
    findings.doubled += [f"commit {name}" for name, count in ids.items() if count > 1]
    for diary in diaries:
        commits = stored.get(diary.conversation_id, [])
        # The chain of digests is checked on the way.
        folded(commits)
        _check_marks(diary, commits, findings)
        _check_turns(diary, commits, findings)
    return findings


def usable(running: Running, diaries: list[Diary]) -> None:
    """Have one more turn in each conversation."""
    with running.client() as client:
        for diary in diaries:
            last = client.responses.create(
                model=MODEL, input="Still there?", conversation=diary.conversation_id
            )
            assert last.status == "completed"


def summary(load: Load, findings: Findings) -> dict[str, Any]:
    """The run in numbers. A stall: nobody's work was acknowledged."""
    diaries = [diary for own in load.diaries for diary in own]
    statuses = [status for diary in diaries for status in diary.responses.values()]
    gaps = [after - before for before, after in itertools.pairwise(sorted(load.acked_at))]
    return {
        "acked": sum(len(marks) for diary in diaries for marks in diary.acked),
        "turns": len(statuses),
        "turns_not_completed": len(statuses) - statuses.count("completed"),
        "lost": len(findings.lost),
        "doubled": len(findings.doubled),
        "unknown": sum(len(diary.unknown) for diary in diaries),
        "stale_reads": len(load.stale),
        "streams_with_gaps": load.gaps,
        "longest_stall_ms": round(1000 * max(gaps)),
        "longest_answer_ms": round(1000 * max(load.waits_s)),
        "sdk_errors": dict(load.errors),
    }


def _check_marks(diary: Diary, commits: list[Stored], findings: Findings) -> None:
    where = [mark for commit in commits for mark in _marks(commit)]
    counted = Counter(where)
    asked = [mark for marks in diary.acked for mark in marks]
    findings.lost += [mark for mark in asked if not counted[mark]]
    findings.doubled += [mark for mark, count in counted.items() if count > 1]
    last = -1
    for marks in diary.acked:
        places = [where.index(mark) for mark in marks if mark in counted]
        if places and min(places) < last:
            findings.disordered += marks
        last = max([last, *places])


def _check_turns(diary: Diary, commits: list[Stored], findings: Findings) -> None:
    asked: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for commit in commits:
        for event in envelope.decode(commit.payload).events:
            if event.type == "turn_requested" or event.type in _ENDS:
                response_id = msgspec.json.decode(event.data)["response_id"]
                (ended if event.type in _ENDS else asked)[response_id] += 1
    findings.lost += [each for each in diary.responses if not asked[each]]
    findings.doubled += [each for each in asked if asked[each] > 1 or ended[each] > 1]
    findings.unended += [each for each in asked if not ended[each]]


def _marks(commit: Stored) -> list[str]:
    return [
        mark.decode()
        for event in envelope.decode(commit.payload).events
        if event.type in {"items_added", "turn_requested"}
        for mark in _MARK.findall(bytes(event.data))
    ]
