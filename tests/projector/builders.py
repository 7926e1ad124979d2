"""Logs as the journal writes them: messages with sequences, outlines and a chain of digests."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
from nats.js import JetStreamContext

from schemas import envelope, subjects
from schemas import events as e
from services.conversation import commands as c
from services.conversation.budget import Policy
from services.conversation.decide import decide
from services.conversation.refusals import Refused
from services.conversation.state import NEW, Conversation, evolve
from services.projector.database import Database
from services.projector.digest import digest
from services.projector.facts import Message
from services.projector.files import CURRENT, Files
from services.projector.settings import ProjectorSettings
from tests.builders import (
    AT,
    call,
    compact,
    compaction_item,
    complete,
    fail,
    message,
    output,
    request,
    said,
    turn_summary,
)

NAME = "a log"


class Log:
    """Commits of any number of conversations, stored ``apart_s`` apart from `AT` on."""

    def __init__(self, *, apart_s: float = 1.0) -> None:
        self._apart_s = apart_s
        self.messages: list[Message] = []
        self.states: dict[tuple[str, str], Conversation] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._headers: list[dict[str, str]] = []
        self._subjects: list[str] = []

    def commit(self, conversation_id: str, *events: e.Event, project: str = "default") -> int:
        """Store one commit; returns its sequence."""
        key, sequence = (project, conversation_id), len(self.messages) + 1
        at = AT + timedelta(seconds=self._apart_s * (sequence - 1))
        state = self.states.get(key, NEW)
        for event in events:
            state = evolve(state, event, at=at, sequence=sequence)
        commit = envelope.Commit(
            id=f"commit-{sequence}",
            conversation_id=conversation_id,
            project=project,
            at=at,
            actor="test",
            prev=self._digests.get(key),
            events=tuple(envelope.pack(event) for event in events),
        )
        payload = envelope.encode(commit)
        self.states[key], self._digests[key] = state, envelope.digest(payload)
        headers = envelope.headers(commit, state.outline())
        self.store(payload, headers, subject=subjects.conversation(project, conversation_id))
        return sequence

    def store(
        self, payload: bytes, headers: dict[str, str], *, subject: str = "conversation.default.x"
    ) -> None:
        """Store whatever this is."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        block = f"NATS/1.0\r\n{lines}\r\n".encode()
        self.messages.append(Message(len(self.messages) + 1, block, payload))
        self._headers.append(headers)
        self._subjects.append(subject)

    async def publish(self, stream: JetStreamContext, *, start: int = 0) -> None:
        """Write the messages after the first ``start`` to a real log."""
        acks = [
            await stream.publish_async(
                self._subjects[index], self.messages[index].payload, headers=self._headers[index]
            )
            for index in range(start, len(self.messages))
        ]
        sequences = [(await ack).seq for ack in acks]
        assert sequences == list(range(start + 1, len(self.messages) + 1)), sequences[:40]


def opened(directory: Path) -> Database:
    """The views that answer in a directory, or new ones."""
    files = Files(directory)
    path = files.named(CURRENT)
    database = Database(path or files.fresh(), ProjectorSettings(data_dir=str(directory)))
    if path is None:
        files.point(CURRENT, database.path)
    return database


def applied(database: Database, messages: Sequence[Message], *, size: int = 10_000) -> None:
    """Deliver messages in batches of ``size``."""
    for start in range(0, len(messages), size):
        database.apply(messages[start : start + size], log=NAME)


def rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    cursor = database.cursor()
    try:
        found: list[tuple[object, ...]] = cursor.execute(statement).fetchall()
        return found
    finally:
        cursor.close()


def contents(database: Database) -> dict[str, str]:
    cursor = database.cursor()
    try:
        return digest(cursor)
    finally:
        cursor.close()


class Action(msgspec.Struct, frozen=True):
    """Something asked of one of a few conversations; ``number`` chooses what it is about."""

    conversation: int
    kind: int
    number: int


KINDS = 11


def played(actions: Sequence[Action]) -> Log:
    """The log of what is granted of ``actions``."""
    log = Log()
    for index, action in enumerate(actions):
        project, conversation_id = (
            ("one", "two")[action.conversation % 2],
            f"c{action.conversation}",
        )
        state = log.states.get((project, conversation_id), NEW)
        command = _command(state, action, index)
        if command is None:
            continue
        try:
            events = decide(
                state, command, conversation_id=conversation_id, policy=Policy(tokens_budget=9)
            )
        except Refused:
            continue
        if events:
            log.commit(conversation_id, *events, project=project)
    return log


def _command(state: Conversation, action: Action, index: int) -> c.Command | None:
    number = action.number
    running = state.running[number % len(state.running)] if state.running else None
    ended = list(state.turns.upwards(0))
    standing = list(state.listed(0, descending=False))
    match action.kind % KINDS:
        case 0:
            return c.CreateConversation(metadata={"n": str(number)}, items=(message(f"m{index}"),))
        case 1:
            # Ids that were used before: allowed again once their items are deleted.
            answered = (call(f"a{index}"), output(f"a{index}"))
            return c.AddItems(items=(message(f"again{number}"), message(f"m{index}"), *answered))
        case 2 | 3 if number % 2:
            return request(f"r{index}", message(f"m{index}"), message(f"n{index}"))
        case 2 | 3:
            parent = ended[number % len(ended)].id if ended else None
            return request(f"r{index}", message(f"m{index}"), on_line=False, parent=parent)
        case 4 | 5 if running is not None:
            return complete(running.id, said(f"s{index}"), attempt=running.attempt, total=number)
        case 6 if running is not None and number % 2:
            return fail(running.id, attempt=running.attempt)
        case 6 if running is not None:
            return c.StartAttempt(
                response_id=running.id, attempt=running.attempt + 1, responder="other"
            )
        case 7 if standing:
            return c.DeleteItem(item_id=standing[number % len(standing)].id)
        case 8 if ended:
            return c.DeleteResponse(response_id=ended[number % len(ended)].id)
        case 9 if number % 3:
            newest = state.compactions[-1].item.id if state.compactions else None
            return compact(
                compaction_item(f"p{index}"),
                covered=len(state.line),
                after=newest,
                removed=state.removed,
            )
        case 9:
            return c.UpdateConversation(metadata={"n": str(index)})
        case 10 if running is not None:
            # Without an answer: a summary is all that was asked for.
            answer = (said(f"s{index}"),) if number % 2 else ()
            return complete(
                running.id,
                compaction_item(f"p{index}"),
                *answer,
                attempt=running.attempt,
                summary=turn_summary(
                    f"p{index}",
                    covered=running.line_start if running.on_line else 0,
                    input_covered=0 if answer else len(running.input),
                ),
            )
        case _:
            return None
