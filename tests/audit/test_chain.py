"""Every damage, at every commit of recorded logs that are held in memory."""

import pytest

from schemas import envelope
from services.audit.findings import Rule
from services.journal.jetstream import EXPECTED
from tests.audit.recording import checked, exchanged, flipped, forged, remembered
from tests.builders import added, message

LOG = remembered(seed=3, conversations=3, steps=220)
BY_SUBJECT = {
    subject: [place for place, each in enumerate(LOG) if each.subject == subject]
    for subject in sorted({each.subject for each in LOG})
}
FOLLOWED = [
    (places[number], places[number + 1])
    for places in BY_SUBJECT.values()
    for number in range(len(places) - 1)
]
"""Places of commits that another one follows, with its place."""
LAST = [places[-1] for places in BY_SUBJECT.values()]


def around(place, log):
    """What is found in the conversation of a commit."""
    return checked([each for each in log if each.subject == LOG[place].subject])


def places(findings):
    return [(finding.subject, finding.sequence, finding.rule) for finding in findings]


def at(place, rule):
    return (LOG[place].subject, LOG[place].sequence, rule)


def test_a_log_as_it_was_written_is_clean():
    assert len(LOG) > 100
    assert checked(LOG) == []


def test_the_recorded_log_has_all_that_matters():
    types = {event.type for each in LOG for event in envelope.decode(each.payload).events}
    assert types >= {
        *("conversation_created", "items_added", "item_deleted", "turn_requested"),
        *("turn_completed", "turn_failed", "conversation_compacted", "compaction_reverted"),
        "budget_crossed",
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_found_in_the_commit_that_has_it(share):
    for place, after in FOLLOWED:
        tampered = list(LOG)
        tampered[place] = flipped(LOG[place], int(len(LOG[place].payload) * share))
        *others, found = around(place, tampered)
        if after in LAST and found.rule is Rule.FORGED:
            # With nothing behind it, the one that follows may as well be the wrong one.
            assert places([found]) == [at(after, Rule.FORGED)]
            assert f"of {LOG[place].sequence}; or that one was altered" in found.says
            assert {other.sequence for other in others} <= {LOG[place].sequence}
            continue
        assert others == []
        assert found.rule in {Rule.ALTERED, Rule.UNREADABLE}
        assert (found.subject, found.sequence) == at(place, None)[:2]


def test_a_removed_commit_is_found_where_it_was():
    for place, _ in FOLLOWED:
        tampered = [each for each in LOG if each is not LOG[place]]
        assert places(around(place, tampered)) == [at(place, Rule.MISSING)]


def test_two_swapped_commits_are_found_at_the_first_and_named_both():
    for place, after in FOLLOWED:
        if any(one == after for one, _ in FOLLOWED):
            (found,) = around(place, exchanged(LOG, place, after))
            assert places([found]) == [at(place, Rule.SWAPPED)]
            assert f"changed places with {LOG[after].sequence}" in found.says


def test_commits_swapped_from_afar_are_found():
    for numbers in BY_SUBJECT.values():
        found = checked(exchanged(LOG, numbers[2], numbers[7]))
        assert {at(numbers[2], Rule.SWAPPED), at(numbers[7], Rule.SWAPPED)} <= set(places(found))


def test_a_forged_commit_in_between_is_found():
    for place, after in FOLLOWED:
        before = LOG[place]
        between = (LOG[place].sequence + LOG[after].sequence) / 2
        own = forged(before, id="mine", prev="0" * 64)._replace(sequence=between)
        (found,) = around(place, [*LOG[: place + 1], own, *LOG[place + 1 :]])
        assert places([found]) == [(before.subject, between, Rule.FORGED)]


def test_a_forged_commit_in_between_that_knows_the_digest_is_found():
    for place, after in FOLLOWED:
        before = LOG[place]
        between = (LOG[place].sequence + LOG[after].sequence) / 2
        digest = envelope.digest(before.payload)
        own = forged(before, id="mine", prev=digest)._replace(sequence=between)
        found = around(place, [*LOG[: place + 1], own, *LOG[place + 1 :]])
        assert (before.subject, between, Rule.FORGED) in places(found)


def test_a_forged_commit_at_the_end_is_found():
    for place in LAST:
        newest = LOG[place]
        own = forged(newest, id="mine", prev="0" * 64)._replace(sequence=10_000)
        assert places(checked([*LOG, own])) == [(newest.subject, 10_000, Rule.FORGED)]


def test_a_forged_commit_that_knows_the_digest_is_found_by_its_outline():
    place = LAST[0]
    newest = LOG[place]
    event = envelope.pack(added(message("msg_mine")))
    own = forged(newest, id="mine", prev=envelope.digest(newest.payload), events=(event,))
    headers = {**newest.headers, EXPECTED: str(newest.sequence)}
    found = checked([*LOG, own._replace(sequence=10_000, headers=headers)])
    assert set(places(found)) == {(newest.subject, 10_000, Rule.OUTLINE)}


def test_a_header_that_was_altered_is_found():
    for place in range(len(LOG)):
        outline = envelope.read_outline(LOG[place].headers[envelope.OUTLINE_HEADER])
        other = envelope.Outline(items=outline.items + 1)
        headers = {
            **LOG[place].headers,
            **envelope.headers(envelope.decode(LOG[place].payload), other),
        }
        tampered = list(LOG)
        tampered[place] = LOG[place]._replace(headers=headers)
        found = around(place, tampered)
        assert {(each.sequence, each.rule) for each in found} == {
            (LOG[place].sequence, Rule.OUTLINE)
        }
        assert f"items is {outline.items + 1}, and should be {outline.items}" in {
            each.says for each in found
        }


def test_a_commit_under_another_subject_is_found():
    place = BY_SUBJECT[LOG[0].subject][-1]
    other = forged(LOG[place], conversation_id="conv_other")
    (found,) = checked([*LOG[:place], other, *LOG[place + 1 :]])
    assert places([found]) == [at(place, Rule.MISPLACED)]


def test_an_event_of_a_later_release_is_found_and_nothing_made_of_it():
    place = BY_SUBJECT[LOG[0].subject][-1]
    later = envelope.StoredEvent(type="turn_steered", version=1, data=b"{}")
    other = forged(LOG[place], events=(later,))
    headers = {**LOG[place].headers, envelope.EVENTS_HEADER: "turn_steered"}
    (found,) = checked([*LOG[:place], other._replace(headers=headers), *LOG[place + 1 :]])
    assert places([found]) == [at(place, Rule.VERSION)]
    assert "turn_steered" in found.says


def test_a_turn_that_ends_twice_is_found():
    names = [envelope.decode(each.payload).events[0].type for each in LOG]
    place = names.index("turn_completed")
    twice = forged(LOG[place], id="mine", prev=envelope.digest(LOG[place].payload))
    headers = {
        **LOG[place].headers,
        EXPECTED: str(LOG[place].sequence),
    }
    of = [each for each in LOG[: place + 1] if each.subject == LOG[place].subject]
    found = checked([*of, twice._replace(sequence=10_000, headers=headers)])
    assert (LOG[place].subject, 10_000, Rule.TURN) in places(found)
    assert any("ends, and does not run" in each.says for each in found)


@pytest.mark.parametrize("rows_max", [1, 20, 60])
def test_outlines_are_checked_however_little_is_remembered(rows_max):
    assert checked(LOG, rows_max=rows_max) == []
    place = LAST[-1]
    headers = {**LOG[place].headers, envelope.OUTLINE_HEADER: '{"items":99}'}
    tampered = list(LOG)
    tampered[place] = LOG[place]._replace(headers=headers)
    assert {finding.rule for finding in checked(tampered, rows_max=rows_max)} == {Rule.OUTLINE}
