"""What each answer cost, as the provider counted it; rows are only ever added."""

from collections.abc import Sequence

import pyarrow as pa

from schemas import events as e
from services.projector.facts import Batch
from services.projector.view import BIGINT, TEXT, TIME, Row

VERSION = 1

INCOMING = {
    "added": pa.schema(
        {
            "response_id": TEXT,
            "conversation_id": TEXT,
            "project": TEXT,
            "model": TEXT,
            "ended_at": TIME,
            "usage": TEXT,
            "sequence": BIGINT,
        }
    )
}


def changes(batch: Batch) -> dict[str, Sequence[Row]]:
    """The usage of every turn that got an answer."""
    added: list[Row] = []
    for fact in batch.facts:
        completed = fact.event
        if fact.turn is None or not isinstance(completed, e.TurnCompleted):
            continue
        added.append(
            (
                completed.response_id,
                fact.conversation_id,
                fact.project,
                completed.model,
                fact.at,
                bytes(completed.usage),
                fact.sequence,
            )
        )
    return {"added": added}
