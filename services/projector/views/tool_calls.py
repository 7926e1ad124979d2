"""One row per call of a tool, beside what answered it: items, paired when they are asked for.

No rows of its own: calls are few among items, and outputs may come long after them.
"""

from collections.abc import Sequence

import pyarrow as pa

from services.projector.facts import Batch
from services.projector.view import Row

VERSION = 1

INCOMING: dict[str, pa.Schema] = {}


def changes(_batch: Batch) -> dict[str, Sequence[Row]]:
    """Nothing: see `items`."""
    return {}
