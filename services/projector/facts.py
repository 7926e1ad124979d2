"""Messages of the log as facts: one event each, with its place on the line and the turn it is of.

What a turn brought is known from two events, the request with its input and the end that lets both
join; the turns in between are `Running`. Pure: the same messages are the same facts, for ever.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from schemas import envelope
from schemas import events as e

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_OUTLINE = f"\r\n{envelope.OUTLINE_HEADER}:".encode()


class Message(NamedTuple):
    """A stored commit as it came: stream sequence, header block, payload."""

    sequence: int
    headers: bytes
    payload: bytes


class OutlineMissing(Exception):
    """A message of the log has no outline, so the places of its items are unknown."""


class RunningTurn(msgspec.Struct, frozen=True, gc=False):
    """A turn between its request and its end.

    ``stored`` is the request as the log has it, ``requested_at`` its time in microseconds since
    1970, ``begun`` its sequence; ``sequence`` is that of the turn's latest event.
    """

    project: str
    conversation_id: str
    request: e.TurnRequested
    stored: envelope.StoredEvent
    requested_at: int
    begun: int
    sequence: int
    attempts: int = 1


Running = Mapping[tuple[str, str, str], RunningTurn]
"""Turns by project, conversation and response id."""


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One event of the log.

    ``at`` is in microseconds since 1970. ``position`` is the length of the line before the event,
    ``turn`` the turn it is of, as it begins or goes on, or as its end found it. ``outline``,
    ``actor`` and ``first`` are of the whole commit: whether it is its conversation's first.
    ``number`` is the event's place in it, from 0, and ``stored`` the event as the log has it.
    """

    sequence: int
    project: str
    conversation_id: str
    at: int
    event: e.Event
    position: int
    turn: RunningTurn | None
    outline: envelope.Outline
    actor: str
    number: int
    stored: envelope.StoredEvent
    first: bool


class Batch(msgspec.Struct, frozen=True):
    """Facts in their order, the sequence they begin at, and the turns that run after them."""

    first: int
    facts: list[Fact]
    running: Running


def read(messages: Sequence[Message], running: Running) -> Batch:
    """The facts in ``messages``, where ``running`` are the turns that ran before them."""
    facts: list[Fact] = []
    turns = dict(running)
    for message in messages:
        _read_commit(message, facts, turns)
    return Batch(messages[0].sequence, facts, turns)


def _read_commit(
    message: Message, facts: list[Fact], turns: dict[tuple[str, str, str], RunningTurn]
) -> None:
    commit = envelope.decode(message.payload)
    outline = _outline(message)
    at = (commit.at - EPOCH) // MICROSECOND
    read = []
    position = outline.items
    for stored in commit.events:
        event = envelope.unpack(stored)
        turn = _turn(event, stored, commit, at, message.sequence, turns)
        joining = _joining(event, turn)
        position -= joining
        read.append((event, turn, joining))
    for number, (event, turn, joining) in enumerate(read):
        facts.append(
            Fact(
                message.sequence,
                commit.project,
                commit.conversation_id,
                at,
                event,
                position,
                turn,
                outline,
                commit.actor,
                number,
                commit.events[number],
                commit.prev is None,
            )
        )
        position += joining


def _outline(message: Message) -> envelope.Outline:
    _, found, rest = message.headers.partition(_OUTLINE)
    if not found:
        raise OutlineMissing(f"commit {message.sequence} has no header {envelope.OUTLINE_HEADER}")
    return envelope.read_outline(rest.partition(b"\r\n")[0].decode())


def _turn(
    event: e.Event,
    stored: envelope.StoredEvent,
    commit: envelope.Commit,
    at: int,
    sequence: int,
    turns: dict[tuple[str, str, str], RunningTurn],
) -> RunningTurn | None:
    """The turn ``event`` is of; ``turns`` after it. As in a fold, an end without a turn is none."""
    match event:
        case e.TurnRequested():
            turn = RunningTurn(
                commit.project, commit.conversation_id, event, stored, at, sequence, sequence
            )
            turns[commit.project, commit.conversation_id, event.response_id] = turn
            return turn
        case e.TurnCompleted() | e.TurnFailed() | e.TurnCancelled():
            return turns.pop((commit.project, commit.conversation_id, event.response_id), None)
        case e.TurnStarted():
            key = (commit.project, commit.conversation_id, event.response_id)
            started = turns.get(key)
            if started is None:
                return None
            turns[key] = turn = msgspec.structs.replace(
                started, attempts=event.attempt, sequence=sequence
            )
            return turn
        case e.ConversationErased():
            erased = (commit.project, commit.conversation_id)
            for key in [each for each in turns if each[:2] == erased]:
                del turns[key]
            return None
        case _:
            return None


def _joining(event: e.Event, turn: RunningTurn | None) -> int:
    """How many items join the line with ``event``."""
    match event:
        case e.TurnRequested():
            return 0
        case e.TurnCompleted():
            if turn is None or not turn.request.on_line:
                return 0
            return len(turn.request.items) + len(event.items)
        case e.ItemsAdded() | e.ConversationForked():
            return len(event.items)
        case e.ConversationCompacted():
            return 1
        case _:
            return 0
