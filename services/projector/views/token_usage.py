"""What each answer cost, as the provider counted it: columns of the turns that got an answer.

No rows of its own. To write them a second time would take a tenth of a rebuild.
"""

from collections.abc import Sequence

import pyarrow as pa

from services.projector.facts import Batch
from services.projector.view import Row

VERSION = 1

INCOMING: dict[str, pa.Schema] = {}


def changes(_batch: Batch) -> dict[str, Sequence[Row]]:
    """Nothing: see `turns`."""
    return {}
