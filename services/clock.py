"""Where time enters. Nothing else reads a clock."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Current UTC time, with microseconds."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()
