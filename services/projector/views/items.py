"""One row per item, in the order items joined; only a deletion changes a row."""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from schemas import events as e
from services.projector.facts import Batch, Fact
from services.projector.view import BIGINT, ERASED, INTEGER, TEXT, TIME, Row, erased

VERSION = 1

INCOMING = {
    "added": pa.schema(
        {
            "conversation_id": TEXT,
            "position": INTEGER,
            "tokens": INTEGER,
            "item": TEXT,
            "response_id": TEXT,
            "origin": TEXT,
            "project": TEXT,
            "added_at": TIME,
            "sequence": BIGINT,
        }
    ),
    "deleted": pa.schema(
        {
            "project": TEXT,
            "conversation_id": TEXT,
            "item_id": TEXT,
            "deleted_at": TIME,
            "sequence": BIGINT,
        }
    ),
    "erased": ERASED,
}


def changes(batch: Batch) -> dict[str, Sequence[Row]]:
    """Items that joined, and those that left."""
    added: list[Row] = []
    deleted: list[Row] = []
    for fact in batch.facts:
        match fact.event:
            case e.TurnRequested():
                pass
            case e.TurnCompleted() as completed:
                _join_turn(added, fact, completed)
            case e.ItemsAdded(items=items, tokens=tokens):
                _join(added, fact, "added", items, tokens, start=fact.position)
            case e.ConversationForked(items=items, tokens=tokens):
                _join(added, fact, "forked", items, tokens, start=fact.position)
            case e.ConversationCompacted(item=item, tokens=size):
                _join(added, fact, "compaction", (item,), (size,), start=fact.position)
            case e.ItemDeleted(item_id=item_id) | e.CompactionReverted(item_id=item_id):
                deleted.append(
                    (fact.project, fact.conversation_id, item_id, fact.at, fact.sequence)
                )
            case _:
                pass
    return {"added": added, "deleted": deleted, "erased": erased(batch)}


def _join_turn(added: list[Row], fact: Fact, completed: e.TurnCompleted) -> None:
    if fact.turn is None:
        return
    request, turn = fact.turn.request, completed.response_id
    start = fact.position if request.on_line else None
    _join(added, fact, "input", request.items, request.tokens, start=start, turn=turn)
    start = fact.position + len(request.items) if request.on_line else None
    _join(added, fact, "output", completed.items, completed.tokens, start=start, turn=turn)


def _join(
    added: list[Row],
    fact: Fact,
    origin: str,
    items: Sequence[msgspec.Raw],
    tokens: Sequence[int],
    *,
    start: int | None,
    turn: str | None = None,
) -> None:
    for index, (item, size) in enumerate(zip(items, tokens, strict=True)):
        added.append(
            (
                fact.conversation_id,
                None if start is None else start + index,
                size,
                item,
                turn,
                origin,
                fact.project,
                fact.at,
                fact.sequence,
            )
        )
