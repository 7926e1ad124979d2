"""Old versions of stored events to the current one, one step at a time.

Steps see fields, not values: a value is raw JSON, which a step may leave out, move or replace. So
items keep their bytes, whatever release wrote them.
"""

from collections.abc import Callable
from typing import Any

from schemas.events import CLASSES

CURRENT: dict[str, int] = dict.fromkeys(CLASSES, 1) | {
    "conversation_compacted": 2,
    "turn_completed": 3,
    "turn_failed": 2,
    "turn_cancelled": 2,
}
"""Version written today, by stored name."""


def _turn_completed_2(data: dict[str, Any]) -> dict[str, Any]:
    """No turn had anything summarised before."""
    return data


def _turn_completed_3(data: dict[str, Any]) -> dict[str, Any]:
    """How a summary was checked was not told before."""
    return data


def _conversation_compacted_2(data: dict[str, Any]) -> dict[str, Any]:
    """How a summary was checked was not told before."""
    return data


def _turn_failed_2(data: dict[str, Any]) -> dict[str, Any]:
    """What had been streamed was not kept before."""
    return {**data, "items": [], "tokens": []}


def _turn_cancelled_2(data: dict[str, Any]) -> dict[str, Any]:
    """No turn was ended for another one before."""
    return data


STEPS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {
    ("conversation_compacted", 1): _conversation_compacted_2,
    ("turn_completed", 1): _turn_completed_2,
    ("turn_completed", 2): _turn_completed_3,
    ("turn_failed", 1): _turn_failed_2,
    ("turn_cancelled", 1): _turn_cancelled_2,
}
"""``(name, n)`` to the function that makes version n + 1 of version n."""


class EventUnknown(Exception):
    """An event this release cannot read: of an unknown type, or of a version from the future."""

    def __init__(self, name: str, version: int) -> None:
        """Keep both, for whoever has to look."""
        self.name = name
        self.version = version
        super().__init__(
            f"cannot read event {name!r} version {version}: written by a later release"
        )


class EventSealed(EventUnknown):
    """An event whose content nobody here can open: its key is not here, or not any more."""

    def __str__(self) -> str:
        return f"cannot read event {self.name!r}: its content is sealed, and the key is not here"


def upcast(name: str, version: int, data: dict[str, Any]) -> dict[str, Any]:
    """``data`` in the current shape of ``name``."""
    for step in range(version, CURRENT[name]):
        data = STEPS[name, step](data)
    return data
