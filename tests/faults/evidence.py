"""What an audit is made of: what clients were told, the log, and what the model was asked.

Every write carries a tag of its own in its text, ``#talker1-7#``, by which it is found again.
"""

import json
import re
from collections import Counter, defaultdict
from typing import Any, Literal, TypeAlias

import msgspec

from schemas import envelope
from schemas import events as e
from services.journal import Stored
from tests.summaries import wants_summary

Door: TypeAlias = Literal["plain", "streamed", "background", "queue"]

_TAG = re.compile(r"#([a-z]+[0-9]*-[0-9]+)#")
ENDS = (e.TurnCompleted, e.TurnFailed, e.TurnCancelled)


def tagged(tag: str) -> str:
    """A tag as it stands in a text."""
    return f"#{tag}#"


def tags(text: str) -> list[str]:
    """All tags of a text, each once."""
    return list(dict.fromkeys(_TAG.findall(text)))


def last_tag(text: str) -> str | None:
    """The last tag of a text: in a window that of the newest item."""
    found = _TAG.findall(text)
    return found[-1] if found else None


class Refusal(msgspec.Struct, frozen=True):
    """An error a client was told."""

    status: int
    code: str | None
    message: str


class Turn(msgspec.Struct, kw_only=True):
    """A turn a client asked for, and all it was told of it; times are of one monotonic clock.

    ``accepted_at``: it was told that the turn is accepted, if only by a first event. ``place`` is
    the request's sequence on the queue, ``ended`` the response it ended as, ``lost`` why no answer
    came. ``keyed``: it was sent with an idempotency key.
    """

    tag: str
    door: Door
    asked_at: float
    conversation_id: str | None = None
    parent: str | None = None
    overlap: str = "reject"
    keyed: bool = False
    response_id: str | None = None
    accepted_at: float | None = None
    place: int | None = None
    published: int = 0
    heard: list[dict[str, Any]] = []
    ended: dict[str, Any] | None = None
    ended_at: float | None = None
    refusal: Refusal | None = None
    lost: str | None = None

    @property
    def waits(self) -> bool:
        """Whether it is accepted before its place in the conversation is known."""
        return self.door == "queue" or (self.door == "background" and self.overlap == "queue")

    @property
    def over_at(self) -> float:
        """When its client stopped waiting."""
        return self.ended_at or float("inf")


class Write(msgspec.Struct, kw_only=True):
    """Another change a client asked for; ``tag`` is an item's id where one is deleted."""

    kind: Literal["created", "items", "deleted", "updated"]
    tag: str
    asked_at: float
    conversation_id: str | None = None
    acked_at: float | None = None
    over_at: float = float("inf")
    refusal: Refusal | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A commit of the log; ``digest`` is that of its own bytes."""

    sequence: int
    previous: int
    id: str
    prev: str | None
    digest: str
    events: tuple[e.Event, ...]


Log: TypeAlias = dict[str, list[Entry]]
"""Commits by conversation, oldest first."""


def entry(stored: Stored) -> Entry:
    """A stored commit as evidence."""
    commit = envelope.decode(stored.payload)
    return Entry(
        sequence=stored.sequence,
        previous=stored.previous,
        id=stored.message_id,
        prev=commit.prev,
        digest=envelope.digest(stored.payload),
        events=tuple(map(envelope.unpack, commit.events)),
    )


class Logged(msgspec.Struct, kw_only=True):
    """A turn as the log has it; sequences of its request, its further attempts and its ends."""

    response_id: str
    conversation_id: str
    tag: str | None
    requested: list[int] = []
    place: int | None = None
    started: list[tuple[int, int]] = []
    ends: list[tuple[int, e.TurnCompleted | e.TurnFailed | e.TurnCancelled]] = []

    @property
    def attempts(self) -> int:
        """How often its model may have been called."""
        return len(self.requested) + len(self.started)

    @property
    def status(self) -> str | None:
        """What it ended as; none while it runs."""
        match self.ends[0][1] if self.ends else None:
            case e.TurnCompleted() as end:
                return end.status
            case e.TurnFailed():
                return "failed"
            case e.TurnCancelled():
                return "cancelled"
            case _:
                return None


def logged(log: Log) -> dict[str, Logged]:
    """Every turn of the log by its response id."""
    found: dict[str, Logged] = {}

    def turn(response_id: str, conversation_id: str) -> Logged:
        known = found.get(response_id)
        if known is None:
            known = Logged(response_id=response_id, conversation_id=conversation_id, tag=None)
            found[response_id] = known
        return known

    for conversation_id, entries in log.items():
        for commit in entries:
            for event in commit.events:
                if isinstance(event, e.TurnRequested):
                    asked = turn(event.response_id, conversation_id)
                    asked.requested.append(commit.sequence)
                    asked.place = place_of(commit.id)
                    asked.tag = last_tag(" ".join(bytes(raw).decode() for raw in event.items))
                elif isinstance(event, e.TurnStarted):
                    started = (commit.sequence, event.attempt)
                    turn(event.response_id, conversation_id).started.append(started)
                elif isinstance(event, ENDS):
                    turn(event.response_id, conversation_id).ends.append((commit.sequence, event))
    return found


def place_of(command_id: str) -> int | None:
    """The sequence on the queue of the request an admission is of."""
    _, _, rest = command_id.partition(".requested.")
    place = rest.partition(".")[0]
    return int(place) if place.isdigit() else None


def by_tag(turns: dict[str, Logged]) -> dict[str, list[Logged]]:
    """Turns of the log by tag; more than one where a client's request came to several."""
    found: dict[str, list[Logged]] = defaultdict(list)
    for turn in turns.values():
        if turn.tag is not None:
            found[turn.tag].append(turn)
    return found


def called(bodies: list[bytes]) -> Counter[str]:
    """How often the model was asked to answer each tag; summaries are not answers."""
    counts: Counter[str] = Counter()
    for body in bodies:
        asked = json.loads(body)
        if wants_summary(asked):
            continue
        tag = last_tag(json.dumps(asked["input"]))
        if tag is not None:
            counts[tag] += 1
    return counts


class Evidence(msgspec.Struct, kw_only=True):
    """All of it.

    ``forgetful`` are the times at which the queue was killed, which then may have lost the mark by
    which a request without a key is known again. ``parked`` are response ids given up.
    """

    turns: list[Turn]
    writes: list[Write]
    log: Log
    calls: Counter[str]
    forgetful: list[float] = []
    parked: set[str] = set()
