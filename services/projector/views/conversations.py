"""One row per conversation: all its changes in a batch are merged here, and applied once.

One that begins is inserted without looking for it, which costs the same however many there are.
"""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from schemas import events as e
from services.projector.facts import Batch, Fact
from services.projector.view import BIGINT, BOOLEAN, ERASED, INTEGER, TEXT, TIME, Row, erased

VERSION = 1

_COLUMNS = pa.schema(
    {
        "conversation_id": TEXT,
        "project": TEXT,
        "created_at": TIME,
        "updated_at": TIME,
        "hidden": BOOLEAN,
        "deleted_at": TIME,
        "metadata": TEXT,
        "items": INTEGER,
        "turns": INTEGER,
        "tokens": BIGINT,
        "sequence": BIGINT,
    }
)
INCOMING = {"added": _COLUMNS, "changed": _COLUMNS, "erased": ERASED}

_encode = msgspec.json.Encoder(order="sorted").encode


class _Changed(msgspec.Struct, gc=False):
    """A conversation's changes; ``items`` and ``turns`` are what to add to it."""

    conversation_id: str
    project: str
    created_at: int
    updated_at: int
    hidden: bool | None = None
    deleted_at: int | None = None
    metadata: bytes | None = None
    items: int = 0
    turns: int = 0
    tokens: int = 0
    sequence: int = 0


def changes(batch: Batch) -> dict[str, Sequence[Row]]:
    """One row per conversation the batch is about, apart for those that begin in it."""
    rows: dict[tuple[str, str], _Changed] = {}
    fresh = set()
    for fact in batch.facts:
        key = (fact.project, fact.conversation_id)
        row = rows.get(key)
        if row is None:
            row = _Changed(fact.conversation_id, fact.project, fact.at, fact.at)
            rows[key] = row
            if fact.first:
                fresh.add(key)
        row.updated_at = fact.at
        row.tokens = fact.outline.tokens
        row.sequence = fact.sequence
        _apply(row, fact)
    return {
        "added": [msgspec.structs.astuple(row) for key, row in rows.items() if key in fresh],
        "changed": [msgspec.structs.astuple(row) for key, row in rows.items() if key not in fresh],
        "erased": erased(batch),
    }


def _apply(row: _Changed, fact: Fact) -> None:
    match fact.event:
        case e.TurnRequested():
            row.turns += 1
        case e.TurnCompleted() as completed:
            if fact.turn is not None and fact.turn.request.on_line:
                row.items += len(fact.turn.request.items) + len(completed.items)
        case e.ConversationCreated() as created:
            row.hidden = created.hidden
            row.metadata = _encode(created.metadata)
        case e.ConversationForked() as forked:
            row.hidden = forked.more
            row.metadata = _encode(forked.metadata)
            row.items += len(forked.items)
        case e.ItemsAdded() as added:
            row.items += len(added.items)
        case e.ItemDeleted() | e.CompactionReverted():
            row.items -= 1
        case e.ConversationCompacted():
            row.items += 1
        case e.ConversationUpdated() as updated:
            row.metadata = _encode(updated.metadata)
        case e.ConversationDeleted():
            row.deleted_at = fact.at
        case (
            e.TurnStarted()
            | e.TurnFailed()
            | e.TurnCancelled()
            | e.ResponseDeleted()
            | e.BudgetCrossed()
            | e.ConversationErased()
        ):
            pass
