"""Attempts at turns that came to nothing without harm: they are not held against a request."""

from collections import Counter

from services.responder.at_work import Key

KNOWN_MAX = 10_000
"""Turns of which that is known; of most that end elsewhere nobody says so here."""


class Unharmed:
    """Counts them, of the turns that were left last."""

    def __init__(self, *, known_max: int = KNOWN_MAX) -> None:
        """``known_max`` bounds the turns."""
        self._counts: Counter[Key] = Counter()
        self._known_max = known_max

    def add(self, key: Key) -> None:
        """One more."""
        count = self._counts.pop(key, 0)
        self._counts[key] = count + 1
        if len(self._counts) > self._known_max:
            del self._counts[next(iter(self._counts))]

    def of(self, key: Key) -> int:
        """How many of a turn."""
        return self._counts[key]

    def forget(self, key: Key) -> None:
        """The turn has ended."""
        self._counts.pop(key, None)
