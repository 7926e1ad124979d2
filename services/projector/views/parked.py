"""One row per commit that could not be projected: written by the database when it passes one."""

from collections.abc import Sequence

import pyarrow as pa

from services.projector.facts import Batch
from services.projector.view import Row

VERSION = 1

INCOMING: dict[str, pa.Schema] = {}


def changes(_batch: Batch) -> dict[str, Sequence[Row]]:
    """Nothing: no fact is known of them."""
    return {}
