"""Checks commits one after the other, as they stand in the log; pure.

Of each conversation it remembers no more than its outline depends on: ids and sizes, no content.
Once a conversation's chain is broken it is only noted, for `services.audit.chain` to explain:
whatever else is wrong there may come from that.
"""

import hashlib
from collections import OrderedDict
from datetime import datetime

import msgspec

from schemas import envelope, items, subjects
from schemas import events as e
from schemas.upcasters import EventSealed, EventUnknown
from services.audit.chain import previous_of
from services.audit.findings import Finding, Rule
from services.conversation.state import NEW, Conversation, evolve
from services.journal.following import Logged

ROWS_MAX = 1_000_000
"""Items that are remembered at once, of all conversations."""

_NO_EVENT = (msgspec.MsgspecError, ValueError, RecursionError)
"""What reading and taking an event comes to that is not as it was written."""
_encode = msgspec.json.Encoder().encode


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that has not ended by the last commit that was checked."""

    subject: str
    response_id: str
    sequence: int
    at: datetime


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to look at when all commits were checked.

    ``sealed`` counts commits whose content could not be looked into. ``broken``
    are subjects whose chain does not hold, ``forgotten`` those of which too much was in
    the way to remember: their outlines are to be checked again, each alone.
    """

    commits: int
    sealed: int
    removed: tuple[int, ...]
    running: tuple[Begun, ...]
    broken: tuple[str, ...]
    forgotten: tuple[str, ...]


class _Thread:
    """A conversation as far as it was checked; without a state its outlines are not.

    ``sealed``: nobody could look into the commit that was checked last.
    """

    __slots__ = (
        *(
            "broken",
            "commits",
            "digest",
            "erased",
            "removed",
            "running",
            "sealed",
            "sequence",
            "state",
        ),
        *("trail", "turns_known"),
    )

    def __init__(self) -> None:
        self.digest: str | None = None
        self.sequence = 0
        self.broken = False
        self.sealed = False
        self.commits = 0
        self.erased = False
        self.trail = hashlib.sha256()
        self.removed: tuple[int, ...] = ()
        self.turns_known = True
        self.state: Conversation | None = NEW
        self.running: dict[str, Begun] = {}

    @property
    def rows(self) -> int:
        return 0 if self.state is None else 1 + len(self.state.line)


class Checker:
    """Takes commits in the order of the log, at least all of each conversation it is given."""

    def __init__(self, *, rows_max: int = ROWS_MAX) -> None:
        """``rows_max`` bounds what is remembered."""
        self._threads: dict[str, _Thread] = {}
        self._used: OrderedDict[str, None] = OrderedDict()
        self._forgotten: set[str] = set()
        self._rows_max = rows_max
        self._rows = 0
        self._commits = 0
        self._sealed = 0

    def check(self, logged: Logged) -> list[Finding]:
        """What is wrong with a commit, as far as what came before can tell."""
        self._commits += 1
        thread = self._threads.get(logged.subject)
        if thread is None:
            thread = self._threads[logged.subject] = _Thread()
        if thread.broken:
            return []
        rows = thread.rows
        try:
            found = _check(thread, logged)
        except EventUnknown as error:
            thread.turns_known, found = False, [(Rule.VERSION, str(error))]
        except _NO_EVENT as error:
            says = f"an event is not as it should be: {error}"
            thread.turns_known, found = False, [(Rule.UNREADABLE, says)]
        self._sealed += thread.sealed
        if thread.broken or not thread.turns_known:
            thread.state, thread.running = None, {}
        self._rows += thread.rows - rows
        self._remember(logged.subject, thread)
        return [
            Finding(subject=logged.subject, sequence=logged.sequence, rule=rule, says=says)
            for rule, says in found
        ]

    def seen(self) -> Seen:
        """What is left to look at."""
        return Seen(
            commits=self._commits,
            sealed=self._sealed,
            removed=tuple(n for thread in self._threads.values() for n in thread.removed),
            running=tuple(
                begun for thread in self._threads.values() for begun in thread.running.values()
            ),
            broken=tuple(name for name, thread in self._threads.items() if thread.broken),
            forgotten=tuple(sorted(self._forgotten)),
        )

    def _remember(self, subject: str, thread: _Thread) -> None:
        if thread.state is None:
            self._used.pop(subject, None)
            return
        self._used[subject] = None
        self._used.move_to_end(subject)
        while self._rows > self._rows_max and len(self._used) > 1:
            name, _ = self._used.popitem(last=False)
            dropped = self._threads[name]
            self._rows -= dropped.rows
            dropped.state = None
            self._forgotten.add(name)


def _check(thread: _Thread, logged: Logged) -> list[tuple[Rule, str]]:
    """Take a commit into its thread; the first broken link ends that."""
    try:
        commit = envelope.decode(logged.payload)
    except msgspec.MsgspecError:
        thread.broken = True
        return []
    if commit.prev != thread.digest or previous_of(logged) != thread.sequence:
        if thread.digest is None and (erased := erasure(logged, commit)) is not None:
            thread.removed = erased.removed
        else:
            thread.broken = True
            return []
    thread.digest, thread.sequence, thread.sealed = logged.digest, logged.sequence, False
    found: list[tuple[Rule, str]] = []
    if subjects.conversation(commit.project, commit.conversation_id) != logged.subject:
        found.append((Rule.MISPLACED, f"it says that it is of {commit.conversation_id}"))
    types = ",".join(event.type for event in commit.events)
    if logged.headers.get(envelope.EVENTS_HEADER) != types:
        found.append((Rule.OUTLINE, f"its header names other events than it has: {types}"))
    if (said := _trail(thread, logged, commit)) is not None:
        found.append((Rule.ERASED, said))
    if logged.altered:
        thread.turns_known = False
        return [*found, (Rule.ALTERED, "its content is not what was sealed")]
    state = thread.state
    for stored in commit.events:
        try:
            event = envelope.unpack(stored)
        except EventSealed:
            thread.sealed, thread.turns_known, state = True, False, None
            continue
        if thread.turns_known:
            found += _turn(thread, event, commit, logged)
        if state is not None:
            state = evolve(state, _slim(event), at=commit.at, sequence=logged.sequence)
    if state is not None:
        found += _outline(state, logged)
        # No outline depends on turns that have ended.
        state = msgspec.structs.replace(
            state, turns=NEW.turns, summarised={}, responses_deleted=frozenset()
        )
    thread.state = state
    return found


def erasure(logged: Logged, commit: envelope.Commit) -> e.ConversationErased | None:
    """What a commit says that stands for all that was taken out of the log before it."""
    if commit.events[0].type != e.ERASED:
        return None
    event = envelope.unpack(commit.events[0])
    assert isinstance(event, e.ConversationErased)
    told = (len(event.removed), event.head, event.removed[-1:])
    return event if told == (event.commits, commit.prev, (previous_of(logged),)) else None


def _trail(thread: _Thread, logged: Logged, commit: envelope.Commit) -> str | None:
    """What is wrong with what an erasure says of the commits before it, which went dark."""
    said = "its conversation was erased before it" if thread.erased else None
    if commit.events[0].type == e.ERASED and not thread.removed:
        event = envelope.unpack(commit.events[0])
        assert isinstance(event, e.ConversationErased)
        if (event.commits, event.trail) != (thread.commits, thread.trail.hexdigest()):
            said = "it tells of other commits than there are before it"
    if commit.events[0].type == e.ERASED:
        # A turn that ran then has no end, nor can have.
        thread.running, thread.erased = {}, True
    thread.commits += 1
    thread.trail.update(envelope.trail_line(logged.sequence, logged.digest))
    return said


def _turn(
    thread: _Thread, event: e.Event, commit: envelope.Commit, logged: Logged
) -> list[tuple[Rule, str]]:
    match event:
        case e.TurnRequested():
            known = thread.running.get(event.response_id)
            thread.running[event.response_id] = Begun(
                subject=logged.subject,
                response_id=event.response_id,
                sequence=logged.sequence,
                at=commit.at,
            )
            if known is not None:
                says = f"{event.response_id} was requested before, at {known.sequence}"
                return [(Rule.TURN, says)]
        case e.TurnStarted():
            if event.response_id not in thread.running:
                return [(Rule.TURN, f"{event.response_id} is tried again, and does not run")]
        case e.TurnCompleted() | e.TurnFailed() | e.TurnCancelled():
            if thread.running.pop(event.response_id, None) is None:
                says = f"{event.response_id} ends, and does not run: it has ended before, or was "
                return [(Rule.TURN, f"{says}never requested")]
        case _:
            pass
    return []


def _outline(state: Conversation, logged: Logged) -> list[tuple[Rule, str]]:
    written = logged.headers.get(envelope.OUTLINE_HEADER)
    if written is None:
        return [(Rule.OUTLINE, "it has none")]
    try:
        told = envelope.read_outline(written)
    except msgspec.MsgspecError:
        return [(Rule.OUTLINE, "it cannot be read")]
    meant = state.outline()
    if meant.window == logged.sequence:
        # A commit does not know its own sequence.
        meant = msgspec.structs.replace(meant, window=-1)
    return [
        (Rule.OUTLINE, f"{field} is {getattr(told, field)}, and should be {getattr(meant, field)}")
        for field in envelope.Outline.__struct_fields__
        if getattr(told, field) != getattr(meant, field)
    ]


def _slim(event: e.Event) -> e.Event:
    """An event with ids of items in place of their content, which nothing here depends on.

    It holds nothing of the message it came in, so that that can be forgotten.
    """
    change = msgspec.structs.replace
    match event:
        case e.TurnRequested():
            parameters = msgspec.Raw(bytes(event.parameters))
            return change(event, items=_slims(event.items), parameters=parameters)
        case e.ItemsAdded():
            return change(event, items=_slims(event.items))
        case e.TurnCompleted():
            done = event.compaction and change(event.compaction, summary="")
            return change(event, items=_slims(event.items), compaction=done)
        case e.ConversationForked():
            summaries = tuple(change(done, summary="") for done in event.compactions)
            return change(event, items=_slims(event.items), compactions=summaries)
        case e.TurnFailed() | e.TurnCancelled():
            return change(event, items=(), tokens=())
        case e.ConversationCompacted():
            return change(event, item=_slimmed(event.item), summary="")
        case _:
            return event


def _slims(raws: tuple[msgspec.Raw, ...]) -> tuple[msgspec.Raw, ...]:
    return tuple(map(_slimmed, raws))


def _slimmed(raw: msgspec.Raw) -> msgspec.Raw:
    head = items.head(raw)
    return msgspec.Raw(_encode({"id": head.id, "type": head.type, "role": head.role}))
