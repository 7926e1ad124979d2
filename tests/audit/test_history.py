"""What was when: folded from the log again, and compared with what was kept when it was written."""

from datetime import UTC, datetime, timedelta, timezone
from random import Random

import pytest

from schemas import envelope
from services.audit import picture, points
from services.audit.history import Histories, moment, until
from services.conversation.decide import before_input
from services.journal import Stored, streams
from services.journal.jetstream import JetStreamJournal
from tests.audit.recording import PROJECT, on, record
from tests.builders import AT
from tests.journal.conftest import server

SEQUENCES = 200


def picture_of(state):
    """All that a state is, but for who shares storage with whom."""
    return (
        [bytes(item.raw) for item in state.line.between(0, len(state.line))],
        list(state.turns.upwards(0)),
        [getattr(state, name) for name in state.__struct_fields__ if name not in {"line", "turns"}],
        [bytes(item.raw) for item in before_input(state, on_line=True, parent=None)],
    )


def test_the_state_at_any_sequence_is_the_one_there_was(tmp_path):
    luck = Random(11)

    async def run(client):
        await streams.declare(client)
        journal = JetStreamJournal(client)
        kept = await record(journal, seed=7, conversations=5, steps=400)
        names = sorted({name for name, _ in kept})
        last = max(sequence for _, sequence in kept)
        asked = [(luck.choice(names), luck.randrange(last + 2)) for _ in range(SEQUENCES)]
        histories = Histories(journal)
        found = [await histories.moment(PROJECT, name, at) for name, at in asked]
        return kept, asked, found

    with server(tmp_path) as url:
        kept, asked, found = on(url, run)

    assert len(kept) > SEQUENCES
    for (name, at), then in zip(asked, found, strict=True):
        sequence = max((s for other, s in kept if other == name and s <= at), default=None)
        if sequence is None:
            assert then is None
            continue
        assert then.sequence == sequence
        assert picture_of(then.state) == picture_of(kept[name, sequence])
        assert then.state == kept[name, sequence]


def stored(sequence, at, *, events=()):
    commit = envelope.Commit(
        id=f"c{sequence}",
        conversation_id="conv_1",
        project="default",
        at=at,
        actor="test",
        prev=None,
        events=events,
    )
    return Stored(
        sequence=sequence, previous=0, message_id=commit.id, payload=envelope.encode(commit)
    )


TIMES = [AT, AT + timedelta(seconds=10), AT + timedelta(seconds=8), AT + timedelta(seconds=20)]
COMMITS = [stored(number * 3, at) for number, at in enumerate(TIMES, 1)]


@pytest.mark.parametrize(
    ("point", "count"),
    [
        (0, 0),
        (2, 0),
        (3, 1),
        (5, 1),
        (6, 2),
        (11, 3),
        (12, 4),
        (10**18, 4),
        (AT - timedelta(microseconds=1), 0),
        (AT, 1),
        (AT + timedelta(seconds=7), 1),
        # One clock was behind: what it wrote stands behind what another wrote.
        (AT + timedelta(seconds=8), 3),
        (AT + timedelta(seconds=10), 3),
        (AT + timedelta(days=1), 4),
        (None, 4),
    ],
    ids=str,
)
def test_a_point_stands_for_the_last_commit_that_is_not_later(point, count):
    assert list(until(COMMITS, point)) == COMMITS[:count]


def test_before_its_first_commit_there_is_no_conversation():
    assert moment([], None) is None
    assert moment(COMMITS, 2) is None


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("0", 0),
        ("1042", 1042),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-25T15:04", datetime(2026, 11, 25, 15, 4, tzinfo=UTC)),
        ("2026-11-25 15:04:05.25", datetime(2026, 11, 25, 15, 4, 5, 250000, tzinfo=UTC)),
        ("2026-11-25T15:04:05Z", datetime(2026, 11, 25, 15, 4, 5, tzinfo=UTC)),
        (
            "2026-11-25T15:04:05+02:00",
            datetime(2026, 11, 25, 15, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_a_point_is_a_sequence_or_a_time(text, point):
    assert points.read(text) == point


@pytest.mark.parametrize("text", ["", "now", "-1", "1.5", "2026-13-01", "²", "1" * 19])
def test_what_is_neither_is_refused(text):
    with pytest.raises(points.PointUnreadable):
        points.read(text)


def test_nothing_differs_from_itself(tmp_path):
    async def run(client):
        await streams.declare(client)
        journal = JetStreamJournal(client)
        kept = await record(journal, seed=2, conversations=1, steps=60)
        ((name, _), *_) = kept
        return name, [await Histories(journal).moment(PROJECT, name, at) for at in (9, 30, None)]

    with server(tmp_path) as url:
        name, (early, later, last) = on(url, run)
    same = picture.difference(name, later, later)
    assert {len(getattr(same, kind).added) for kind in ("items", "turns", "metadata")} == {0}
    there, back = (picture.difference(name, *pair) for pair in ((early, last), (last, early)))
    for kind in ("items", "turns", "metadata", "compactions"):
        one, other = getattr(there, kind), getattr(back, kind)
        assert (one.added, one.removed) == (other.removed, other.added)
        assert {k: (v.after, v.before) for k, v in one.changed.items()} == {
            k: (v.before, v.after) for k, v in other.changed.items()
        }
    items = {item.id for item in last.state.listed(0, descending=False)}
    before = {item.id for item in early.state.listed(0, descending=False)}
    assert set(there.items.added) == items - before
    assert set(there.items.removed) == before - items
