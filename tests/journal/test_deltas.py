import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import deltas
from schemas.http import stream_events
from services.journal.deltas import Fence, ending, following, joined

CLIENT = Client()


def frames(first, count):
    return b"".join(
        stream_events.frame("response.x", b'{"sequence_number":%d}' % number)
        for number in range(first, first + count)
    )


def told(first, count, kind=deltas.EVENTS, **headers: str):
    known = {deltas.KIND_HEADER: kind, deltas.FIRST_HEADER: str(first), **headers}
    return Msg(CLIENT, data=frames(first, count), headers=known)


def end(first):
    return told(first, 1, deltas.END, **{deltas.SEQUENCE_HEADER: "42"})


@pytest.mark.parametrize("number", range(8))
def test_events_are_joined_from_any_number_on(number):
    got = joined([told(0, 2), told(2, 3), told(5, 1), end(6)], number=number)
    assert got.payload == (frames(number, 7 - number) if number < 7 else b"")
    assert (got.end, got.sequence, got.rest) == (True, 42, ())


def test_what_is_told_twice_is_joined_once():
    got = joined([told(0, 2), told(0, 2), told(1, 3), told(4, 1), end(5), end(6)], number=0)
    assert (got.payload, got.number, got.end) == (frames(0, 6), 6, True)


@pytest.mark.parametrize("begun", [b"", stream_events.lifecycle("response.created", b"{}", 0)])
def test_an_end_that_knew_of_fewer_events_comes_behind_them(begun):
    failed = stream_events.lifecycle("response.failed", b'{"id":1}', 1)
    short = told(0 if begun else 1, 0, deltas.END, **{deltas.SEQUENCE_HEADER: "42"})
    short.data = begun + failed
    behind = stream_events.lifecycle("response.failed", b'{"id":1}', 4)
    got = joined([told(0, 4), short], number=0)
    assert (got.payload, got.number, got.end) == (frames(0, 4) + behind, 5, True)
    assert joined([short], number=4, said=True).payload == behind
    # Who says that he knows more than there is has no more to hear.
    assert joined([short], number=4).payload == b""


def test_what_comes_behind_a_gap_is_not_joined():
    late = told(5, 1)
    got = joined([told(0, 2), late, end(6)], number=0)
    assert (got.payload, got.number, got.end) == (frames(0, 2), 2, False)
    assert got.rest[0] is late
    assert len(got.rest) == 2


def test_nothing_is_joined_of_what_is_no_event():
    refusal = told(0, 0, deltas.REFUSAL)
    bare = Msg(CLIENT, data=b"", headers=None)
    got = joined([refusal, bare], number=3)
    assert (got.payload, got.number, got.end) == (b"", 3, False)
    assert (following(refusal), following(bare), following(told(3, 4))) == (0, 0, 7)


def test_what_a_superseded_attempt_says_counts_only_before_the_fence():
    begun, late, again = told(0, 2), told(2, 3), told(2, 1, **{deltas.ATTEMPT_HEADER: "2"})
    fence = told(0, 0, deltas.ATTEMPT, **{deltas.ATTEMPT_HEADER: "2"})
    note = told(0, 0, deltas.ATTEMPT)
    passes = Fence().passes
    counting = [each for each in (note, begun, fence, late, again) if passes(each)]
    assert counting == [begun, again]
    # What has ended is in the log, whoever tells it.
    assert passes(end(3))


def test_an_end_is_told_behind_whatever_was_lost():
    payload = stream_events.lifecycle("response.completed", b'{"id":1}', 9)
    message = told(9, 0, deltas.END, **{deltas.SEQUENCE_HEADER: "42"})
    message.data = payload
    got = ending([told(5, 2), message], number=3)
    assert got is not None
    assert got.payload == stream_events.lifecycle("response.completed", b'{"id":1}', 3)
    assert (got.number, got.end, got.sequence) == (4, True, 42)
    assert ending([told(5, 2)], number=3) is None
