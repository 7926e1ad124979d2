import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.rate import Bucket, Taken, duration


def test_requests_are_counted_down_and_come_back_evenly():
    bucket = Bucket(4)
    assert [bucket.take(100.0) for _ in range(4)] == [
        Taken(limit=4, remaining=3, reset_s=15.0),
        Taken(limit=4, remaining=2, reset_s=30.0),
        Taken(limit=4, remaining=1, reset_s=45.0),
        Taken(limit=4, remaining=0, reset_s=60.0),
    ]
    # What is refused does not count.
    for _ in range(3):
        assert bucket.take(105.0) == Taken(limit=4, remaining=0, reset_s=55.0, wait_s=10.0)
    assert bucket.take(115.0) == Taken(limit=4, remaining=0, reset_s=60.0)
    assert bucket.take(1000.0) == Taken(limit=4, remaining=3, reset_s=15.0)


def test_what_is_left_is_told_as_headers():
    assert Bucket(60).take(5.0).headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
    }


@given(st.integers(1, 500), st.lists(st.floats(0, 30), min_size=1, max_size=400))
def test_no_time_has_more_requests_than_its_share_and_one_burst(limit: int, gaps: list[float]):
    bucket, now, granted = Bucket(limit), 7.0, list[float]()
    for gap in gaps:
        now += gap
        taken = bucket.take(now)
        assert 0 <= taken.remaining < limit
        assert taken.reset_s <= 60 + 1e-6
        if not taken.wait_s:
            granted.append(now)
        else:
            # Who waits as long as is said comes in.
            assert taken.remaining == 0
            assert taken.wait_s <= 60 / limit + 1e-6
    for index, since in enumerate(granted):
        for count, until in enumerate(granted[index:], start=1):
            assert count <= limit + (until - since) * limit / 60 + 1e-3


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0ms"), (0.0201, "21ms"), (1, "1s"), (1.5, "1.5s"), (59.9999, "1m0s"), (61.25, "1m1.25s")],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, told: str):
    assert duration(seconds) == told
