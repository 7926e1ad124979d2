"""How often a key may ask: a bucket that fills up again at an even pace.

Each gateway counts for itself, in memory: behind several, a key may ask so often of each. One
number is kept for a key; nothing is awaited and nothing has to be swept.
"""

import math

import msgspec

from schemas.http.errors import TooMany

_MINUTE_S = 60.0
LIMIT_HEADER = "x-ratelimit-limit-requests"
REMAINING_HEADER = "x-ratelimit-remaining-requests"
RESET_HEADER = "x-ratelimit-reset-requests"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What is left after a request. ``wait_s``: it was one too many, until then."""

    limit: int
    remaining: int
    reset_s: float
    wait_s: float = 0.0

    def headers(self) -> dict[str, str]:
        """As OpenAI tells it: the last one is the time until nothing was asked."""
        return {
            LIMIT_HEADER: str(self.limit),
            REMAINING_HEADER: str(self.remaining),
            RESET_HEADER: duration(self.reset_s),
        }


class RateLimited(TooMany):
    """The key asks more often than it may."""

    def __init__(self, taken: Taken) -> None:
        super().__init__(
            f"Rate limit reached for requests: {taken.limit} per minute. "
            f"Please try again in {duration(taken.wait_s)}."
        )
        self.taken = taken
        self.retry_after_s = max(1, math.ceil(taken.wait_s))


class Bucket:
    """Requests of one key; full at first. Not for several threads."""

    def __init__(self, limit: int) -> None:
        """``limit`` requests a minute, and at once."""
        self._limit = limit
        self._each_s = _MINUTE_S / limit
        self._full_at = 0.0

    def take(self, now: float) -> Taken:
        """One request at ``now``, seconds of a clock that never goes back."""
        # When it would be full again, were this the last request.
        full_at = max(self._full_at, now) + self._each_s
        wait_s = full_at - now - _MINUTE_S
        # A hair less than nothing is nothing.
        if wait_s > self._each_s * 1e-6:
            return Taken(limit=self._limit, remaining=0, reset_s=self._full_at - now, wait_s=wait_s)
        self._full_at = full_at
        remaining = int((_MINUTE_S - (full_at - now)) / self._each_s + 1e-6)
        return Taken(limit=self._limit, remaining=remaining, reset_s=full_at - now)


def duration(seconds: float) -> str:
    """As Go writes it, and OpenAI with it: ``20ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds * 1000) / 1000, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
