"""One row per turn: appended to ``turns_ended`` at its end, in ``turns_running`` until then.

A turn that begins and ends within a batch, as most do while catching up, never enters the latter.
"""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from schemas import envelope
from schemas import events as e
from services.projector.facts import Batch, Fact, Running, RunningTurn
from services.projector.view import BIGINT, BOOLEAN, ERASED, INTEGER, TEXT, TIME, Row, erased

VERSION = 2

_NAMED = {"response_id": TEXT, "conversation_id": TEXT, "project": TEXT}

INCOMING = {
    "forgotten": pa.schema(_NAMED),
    "remembered": pa.schema(
        _NAMED
        | {
            "attempts": INTEGER,
            "requested_at": TIME,
            "request": TEXT,
            "begun": BIGINT,
            "sequence": BIGINT,
        }
    ),
    "added": pa.schema(
        _NAMED
        | {
            "parent_response_id": TEXT,
            "on_line": BOOLEAN,
            "stored": BOOLEAN,
            "attempts": INTEGER,
            "requested_at": TIME,
            "ended_at": TIME,
            "input_items": INTEGER,
            "sequence": BIGINT,
            "model": TEXT,
            "status": TEXT,
            "output_items": INTEGER,
            "usage": TEXT,
            "reason": TEXT,
            "error_code": TEXT,
        }
    ),
    "deleted": pa.schema(_NAMED | {"deleted_at": TIME}),
    "erased_running": ERASED,
    "erased": ERASED,
}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(envelope.StoredEvent).decode


def changes(batch: Batch) -> dict[str, Sequence[Row]]:
    """Turns that ended, those that began and still run, and responses that were deleted."""
    added: list[Row] = []
    deleted: list[Row] = []
    forgotten: dict[Row, None] = {}
    for fact in batch.facts:
        match fact.event:
            case e.TurnRequested():
                pass
            case (e.TurnCompleted() | e.TurnFailed() | e.TurnCancelled()) as end if fact.turn:
                added.append(_ended(fact, fact.turn, end))
                if fact.turn.begun < batch.first:
                    forgotten[_named(fact.turn)] = None
            case e.TurnStarted() if fact.turn is not None and fact.turn.begun < batch.first:
                forgotten[_named(fact.turn)] = None
            case e.ResponseDeleted(response_id=response_id):
                deleted.append((response_id, fact.conversation_id, fact.project, fact.at))
            case _:
                pass
    still = [_running(turn) for turn in batch.running.values() if turn.sequence >= batch.first]
    return {
        "forgotten": list(forgotten),
        "remembered": still,
        "added": added,
        "deleted": deleted,
        "erased_running": erased(batch),
        "erased": erased(batch),
    }


def running(rows: Sequence[tuple[str, str, str, int, int, int, int]]) -> Running:
    """The turns in progress, from what the statement ``running`` answers."""
    turns = {}
    for project, conversation_id, request, requested_at, begun, sequence, attempts in rows:
        stored = _decode(request)
        event = envelope.unpack(stored)
        assert isinstance(event, e.TurnRequested)
        turns[project, conversation_id, event.response_id] = RunningTurn(
            project, conversation_id, event, stored, requested_at, begun, sequence, attempts
        )
    return turns


def _named(turn: RunningTurn) -> Row:
    return (turn.request.response_id, turn.conversation_id, turn.project)


def _running(turn: RunningTurn) -> Row:
    return (
        turn.request.response_id,
        turn.conversation_id,
        turn.project,
        turn.attempts,
        turn.requested_at,
        _encode(turn.stored),
        turn.begun,
        turn.sequence,
    )


def _ended(
    fact: Fact, turn: RunningTurn, end: e.TurnCompleted | e.TurnFailed | e.TurnCancelled
) -> Row:
    if isinstance(end, e.TurnCompleted):
        outcome: Row = (
            end.model,
            end.status,
            len(end.items),
            bytes(end.usage),
            end.reason,
            None,
        )
    elif isinstance(end, e.TurnFailed):
        outcome = (turn.request.model, "failed", len(end.items), None, None, end.code)
    else:
        outcome = (turn.request.model, "cancelled", len(end.items), None, None, None)
    return (
        end.response_id,
        fact.conversation_id,
        fact.project,
        turn.request.parent,
        turn.request.on_line,
        turn.request.store,
        turn.attempts,
        turn.requested_at,
        fact.at,
        len(turn.request.items),
        fact.sequence,
        *outcome,
    )
