"""``turnlog verify`` where conversations were erased, and where that is only said."""

import hashlib

import msgspec

from schemas import envelope
from schemas import events as e
from services.audit.checker import Checker
from services.conversation.state import NEW, evolve
from services.journal.expecting import EXPECTED
from services.journal.following import Logged
from tests.audit.recording import remembered
from tests.builders import AT

LOG = remembered(seed=3, conversations=2, steps=60)
SUBJECT = LOG[-1].subject
OF_IT = [each for each in LOG if each.subject == SUBJECT]


def erasure(**changed: object) -> Logged:
    """The commit that erases the last conversation of all, and stands at the end of the log."""
    trail = hashlib.sha256()
    for each in OF_IT:
        trail.update(envelope.trail_line(each.sequence, each.digest))
    event = e.ConversationErased(
        commits=len(OF_IT), head=OF_IT[-1].digest, trail=trail.hexdigest(), key="00"
    )
    event = msgspec.structs.replace(event, **changed)
    before = envelope.decode(OF_IT[-1].payload)
    commit = msgspec.structs.replace(
        before, id="erased", prev=OF_IT[-1].digest, events=(envelope.pack(event),)
    )
    outline = evolve(NEW, event, at=AT, sequence=0).outline()
    return Logged(
        sequence=LOG[-1].sequence + 1,
        at=AT,
        subject=SUBJECT,
        headers={**envelope.headers(commit, outline), EXPECTED: str(OF_IT[-1].sequence)},
        payload=envelope.encode(commit),
    )


def found(log: list[Logged]):
    checker = Checker()
    findings = [each for logged in log for each in checker.check(logged)]
    return [(each.sequence, str(each.rule)) for each in findings], checker.seen()


def test_an_erasure_behind_what_it_has_erased_is_in_order():
    findings, seen = found([*LOG, erasure()])
    assert (findings, seen.broken, seen.removed) == ([], (), ())


def test_one_that_tells_of_other_commits_is_found():
    last = erasure(commits=len(OF_IT) + 1)
    assert found([*LOG, last])[0] == [(last.sequence, "erased")]
    last = erasure(trail="00")
    assert found([*LOG, last])[0] == [(last.sequence, "erased")]


def test_one_in_place_of_what_was_removed_is_in_order_and_says_what_that_was():
    removed = tuple(each.sequence for each in OF_IT)
    others = [each for each in LOG if each.subject != SUBJECT]
    findings, seen = found([*others, erasure(removed=removed)])
    assert (findings, seen.broken, seen.removed) == ([], (), removed)


def test_one_that_says_so_of_nothing_is_a_broken_chain():
    others = [each for each in LOG if each.subject != SUBJECT]
    for last in (erasure(), erasure(removed=(1,)), erasure(removed=(), commits=0)):
        assert found([*others, last])[1].broken == (SUBJECT,)


def test_no_commit_may_come_after_one():
    last = erasure()
    late = OF_IT[-1]._replace(sequence=last.sequence + 1)
    assert found([*LOG, last, late])[1].broken == (SUBJECT,)
    commit = msgspec.structs.replace(envelope.decode(late.payload), prev=last.digest)
    headers = {**late.headers, EXPECTED: str(last.sequence)}
    chained = late._replace(headers=headers, payload=envelope.encode(commit))
    assert (late.sequence, "erased") in found([*LOG, last, chained])[0]
