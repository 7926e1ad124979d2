"""Points of a conversation's history: a sequence of the log, or a time."""

import re
from datetime import UTC, datetime
from typing import TypeAlias

Point: TypeAlias = int | datetime
"""What a state is asked for at: after the last commit that is not later."""

SEQUENCE_DIGITS_MAX = 18
_SEQUENCE = re.compile(rf"[0-9]{{1,{SEQUENCE_DIGITS_MAX}}}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class PointUnreadable(Exception):
    """Neither a sequence nor a time."""

    def __init__(self, text: str) -> None:
        """``text`` as it was given."""
        super().__init__(
            f"{text!r} is neither a sequence, as in 1042, nor a time, as in 2026-11-25T15:04:05Z"
        )


def read(text: str) -> Point:
    """The point ``text`` names; a time without a zone is UTC. Raises `PointUnreadable`."""
    if _SEQUENCE.fullmatch(text):
        return int(text)
    if not _DATE.match(text):
        raise PointUnreadable(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise PointUnreadable(text) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
