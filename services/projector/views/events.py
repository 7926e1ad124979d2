"""One row per event, without what it says: the contents of the log, as an index of it."""

from collections.abc import Sequence

import pyarrow as pa

from services.projector.facts import Batch
from services.projector.view import BIGINT, ERASED, INTEGER, TEXT, TIME, Row, erased

VERSION = 1

INCOMING = {
    "added": pa.schema(
        {
            "sequence": BIGINT,
            "number": INTEGER,
            "conversation_id": TEXT,
            "project": TEXT,
            "type": TEXT,
            "version": INTEGER,
            "committed_at": TIME,
            "actor": TEXT,
            "response_id": TEXT,
            "bytes": INTEGER,
        }
    ),
    "erased": ERASED,
}


def changes(batch: Batch) -> dict[str, Sequence[Row]]:
    """All of them."""
    return {
        "added": [
            (
                fact.sequence,
                fact.number,
                fact.conversation_id,
                fact.project,
                fact.stored.type,
                fact.stored.version,
                fact.at,
                fact.actor,
                getattr(fact.event, "response_id", None),
                len(fact.stored.data),
            )
            for fact in batch.facts
        ],
        "erased": erased(batch),
    }
