"""One row per erased conversation and day it was written to: what other views held, and no more."""

from collections.abc import Sequence

import pyarrow as pa

from schemas import events as e
from services.projector.facts import EPOCH, MICROSECOND, Batch
from services.projector.view import BIGINT, DATE, TEXT, TIME, Row

VERSION = 1

INCOMING = {
    "added": pa.schema(
        {
            "conversation_id": TEXT,
            "project": TEXT,
            "erased_at": TIME,
            "commits": BIGINT,
            "day": DATE,
            "sequence": BIGINT,
        }
    )
}


def changes(batch: Batch) -> dict[str, Sequence[Row]]:
    """One row at least for each."""
    rows: list[Row] = []
    for fact in batch.facts:
        if isinstance(fact.event, e.ConversationErased):
            days = fact.event.days or ((EPOCH + fact.at * MICROSECOND).date(),)
            rows += [
                (
                    *(fact.conversation_id, fact.project, fact.at),
                    *(fact.event.commits, day, fact.sequence),
                )
                for day in days
            ]
    return {"added": rows}
