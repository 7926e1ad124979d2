"""An ordered, keyed collection that only grows, whose versions share their storage.

A fold makes a new state per event. Copying the whole history each time would make every turn
cost as much as the conversation is long; here a new version costs what it adds. A version sees
the first ``length`` rows of a list that newer versions have extended. What would change an older
version copies instead: growing one that is not the newest, and using an id again.
"""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Keyed(Protocol):
    """A row with a key that is its own within a line."""

    @property
    def id(self) -> str:
        """The key."""


T = TypeVar("T", bound=Keyed)


class Line(Generic[T]):
    """Rows in order, found by position or by id. A later row with a known id hides the earlier."""

    __slots__ = ("_length", "_positions", "_rows")

    def __init__(self) -> None:
        self._rows: list[T] = []
        self._positions: dict[str, int] = {}
        self._length = 0

    def extended(self, rows: tuple[T, ...]) -> "Line[T]":
        """A version with ``rows`` at the end; this one stays as it is."""
        if not rows:
            return self
        line: Line[T] = Line()
        newest = self._length == len(self._rows)
        if newest and not any(row.id in self._positions for row in rows):
            line._rows, line._positions = self._rows, self._positions
        else:
            line._rows = self._rows[: self._length]
            line._positions = {row.id: index for index, row in enumerate(line._rows)}
        for row in rows:
            line._positions[row.id] = len(line._rows)
            line._rows.append(row)
        line._length = len(line._rows)
        return line

    def position(self, key: str) -> int | None:
        """Where the row with this id stands, from 0."""
        index = self._positions.get(key)
        return index if index is not None and index < self._length else None

    def get(self, key: str) -> T | None:
        """The row with this id."""
        index = self.position(key)
        return None if index is None else self._rows[index]

    def between(self, start: int, end: int) -> list[T]:
        """Rows at positions ``start`` up to, not including, ``end``."""
        return self._rows[start : min(end, self._length)]

    def downwards(self, start: int) -> Iterator[T]:
        """Rows from position ``start`` to the first."""
        for index in range(min(start, self._length - 1), -1, -1):
            yield self._rows[index]

    def upwards(self, start: int) -> Iterator[T]:
        """Rows from position ``start`` to the last."""
        for index in range(max(start, 0), self._length):
            yield self._rows[index]

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Line):
            return NotImplemented
        return self.between(0, self._length) == other.between(0, other._length)

    __hash__ = None  # type: ignore[assignment]  # equal by content, and content grows

    def __repr__(self) -> str:
        return f"Line({self.between(0, self._length)!r})"
