import pytest

from services.simulator.anchors import anchors_in, summary_of
from services.simulator.entries import Entry
from services.simulator.forgetting import FORGOTTEN_SHARE, GAP, LENGTH_MAX, Memory

DETAILS = [f"#P-{number}" for number in range(2_000)]
ROOM = 100 * sum(len(detail) for detail in DETAILS)


def source(count: int) -> list[Entry]:
    text = "The parcel {0} waits at the depot, and nobody has come for it. " + "It is late. " * 9
    return [Entry("user", "message", text.format(f"#P-{number}")) for number in range(count)]


def test_each_telling_forgets_its_share_wherever_it_was_told():
    kept = Memory(DETAILS, seed="one", length_max=ROOM).kept

    assert list(kept) == [detail for detail in DETAILS if detail in kept]
    for half in (DETAILS[:1_000], DETAILS[1_000:]):
        assert sum(detail in kept for detail in half) / 1_000 == pytest.approx(
            1 - FORGOTTEN_SHARE, abs=0.03
        )


def test_the_same_is_always_forgotten_of_the_same_and_other_things_of_others():
    kept = Memory(DETAILS, seed="one", length_max=ROOM).kept

    assert Memory(DETAILS, seed="one", length_max=ROOM).kept == kept
    assert Memory(DETAILS, seed="two", length_max=ROOM).kept != kept


def test_where_room_is_short_no_place_is_better_than_another():
    kept = list(Memory(DETAILS, seed="one", length_max=2_000).kept)

    places = [DETAILS.index(detail) for detail in kept]
    assert sum(len(detail) + 2 for detail in kept) <= 1_500
    assert min(places) < 100
    assert max(places) > 1_900


def test_a_forgotten_detail_is_in_no_sentence():
    memory = Memory(["12", "124"], seed="one", length_max=0)

    assert memory.told("12, 124 and 1245") == f"{GAP}, {GAP} and 1245"


def test_a_forgetful_summary_has_a_length_of_its_own():
    long, longer = (summary_of(source(count), forgetful=True) for count in (200, 400))

    assert len(summary_of(source(400))) > 2 * LENGTH_MAX
    assert max(len(long), len(longer)) <= LENGTH_MAX + 100


def test_what_is_summarised_again_and_again_is_lost_little_by_little():
    first = anchors_in(summary_of(source(20), forgetful=True))
    text, remaining = summary_of(source(20), forgetful=True), [len(first)]
    for number in range(20):
        later = Entry("user", "message", f"And now the weather of day {number}. " * 40)
        text = summary_of([Entry("system", "message", text), later], forgetful=True)
        remaining.append(len(set(anchors_in(text)) & set(first)))

    assert remaining == sorted(remaining, reverse=True)
    assert remaining[0] >= 15
    assert remaining[-1] <= 6


def test_one_that_is_not_forgetful_keeps_its_anchors_through_many_tellings():
    text = summary_of(source(20))
    for number in range(20):
        later = Entry("user", "message", f"And now the weather of day {number}. " * 40)
        text = summary_of([Entry("system", "message", text), later])

    assert {f"#P-{number}" for number in range(20)} <= set(anchors_in(text))
