"""One row per summary that took the place of items in windows, as its event tells of it."""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from schemas import events as e
from services.projector.facts import Batch, Fact
from services.projector.view import BIGINT, ERASED, INTEGER, TEXT, TIME, Row, erased

VERSION = 1

INCOMING = {
    "made": pa.schema(
        {
            "item_id": TEXT,
            "conversation_id": TEXT,
            "project": TEXT,
            "response_id": TEXT,
            "method": TEXT,
            "fallback": TEXT,
            "covered": INTEGER,
            "covered_from": INTEGER,
            "kept": INTEGER,
            "tokens_before": BIGINT,
            "tokens_after": BIGINT,
            "anchors_found": INTEGER,
            "anchors_kept": INTEGER,
            "summary": TEXT,
            "made_at": TIME,
            "sequence": BIGINT,
        }
    ),
    "reverted": pa.schema(
        {"project": TEXT, "conversation_id": TEXT, "item_id": TEXT, "reverted_at": TIME}
    ),
    "erased": ERASED,
}


class _Named(msgspec.Struct):
    id: str


_decode = msgspec.json.Decoder(_Named).decode


def changes(batch: Batch) -> dict[str, Sequence[Row]]:
    """Summaries that were made, and those that were taken back."""
    made: list[Row] = []
    reverted: list[Row] = []
    for fact in batch.facts:
        match fact.event:
            case e.ConversationCompacted() as compacted:
                made.append(_made(fact, _decode(compacted.item).id, compacted, turn=None))
            case e.TurnCompleted(response_id=turn, compaction=e.TurnCompaction() as compacted):
                if fact.turn is not None:
                    made.append(_made(fact, compacted.item_id, compacted, turn=turn))
            case e.CompactionReverted(item_id=item_id):
                reverted.append((fact.project, fact.conversation_id, item_id, fact.at))
            case _:
                pass
    return {"made": made, "reverted": reverted, "erased": erased(batch)}


def _made(
    fact: Fact,
    item_id: str,
    event: e.ConversationCompacted | e.TurnCompaction,
    *,
    turn: str | None,
) -> Row:
    return (
        item_id,
        fact.conversation_id,
        fact.project,
        turn,
        event.method,
        event.fallback or None,
        event.covered,
        event.covered_from,
        len(event.kept),
        event.tokens_before,
        event.tokens_after,
        event.anchors_found,
        event.anchors_kept,
        event.summary,
        fact.at,
        fact.sequence,
    )
