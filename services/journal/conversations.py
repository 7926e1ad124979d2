"""Load, decide, append: the one shape of every change to a conversation.

Nobody else appends. A fold is kept per conversation and advanced by what is new; a refusal is
only ever given on a state that was just checked against the log's last message.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakValueDictionary

import msgspec
import stamina

from schemas import envelope
from schemas.events import Event
from services import clock
from services.conversation.budget import Policy
from services.conversation.commands import Command
from services.conversation.decide import decide
from services.conversation.history import Turn
from services.conversation.refusals import Refused
from services.conversation.state import NEW, UNSTORED, Conversation, fold
from services.journal import Conflict, Journal, JournalUnavailable, Repeated, Stored

DECIDE_S_MAX = 5.0
"""Seconds for which a decision is taken anew because somebody else was faster."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as of the stream sequence of its last commit (0: it has none).

    ``digest`` is of that commit's bytes.
    """

    state: Conversation = NEW
    sequence: int = 0
    digest: str | None = None

    @property
    def weight(self) -> int:
        """Rows kept in memory."""
        return 1 + len(self.state.line) + len(self.state.turns)


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What a command came to: its events (none: it was granted before) and the state after."""

    events: tuple[Event, ...]
    state: Conversation
    sequence: int


class Conversations:
    """Every conversation of the log, through a bounded cache of folds."""

    def __init__(
        self, journal: Journal, *, actor: str, policy: Policy, rows_max: int = 200_000
    ) -> None:
        """``actor`` signs the commits; ``rows_max`` bounds items and turns kept in memory."""
        self._journal = journal
        self._actor = actor
        self._policy = policy
        self._rows_max = rows_max
        self._rows = 0
        self._cache: OrderedDict[tuple[str, str], Loaded] = OrderedDict()
        self._turnstiles: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def load(self, project: str, conversation_id: str) -> Loaded:
        """The conversation as its last commit in the log leaves it; `NEW` if it has none."""
        async with self._turnstile(project, conversation_id):
            return await self._current(project, conversation_id)

    async def turn(self, project: str, conversation_id: str, response_id: str) -> Turn | None:
        """The turn with this response id, if it was let begin; raises `JournalUnavailable`."""
        return (await self.load(project, conversation_id)).state.turn(response_id)

    async def grant(
        self,
        project: str,
        conversation_id: str,
        command: Command,
        *,
        command_id: str,
        fresh: bool = False,
    ) -> Granted:
        """Append what ``command`` comes to, once for each ``command_id``.

        ``fresh``: the id was only just minted, so there is nothing to look for in the log.
        Raises `Refused`, or `JournalUnavailable` when the log cannot be reached or the
        conversation is changed faster than decisions can be taken.
        """
        # One writer at a time in this process; other processes meet at the expected sequence.
        async with self._turnstile(project, conversation_id):
            try:
                base = Loaded() if fresh else self._cached(project, conversation_id)
                return await self._attempt(project, conversation_id, base, command, command_id)
            except Conflict:
                pass
            try:
                async for attempt in stamina.retry_context(
                    on=Conflict,
                    attempts=None,
                    timeout=DECIDE_S_MAX,
                    wait_initial=0.002,
                    wait_jitter=0.01,
                    wait_max=0.05,
                ):
                    with attempt:
                        base = self._cached(project, conversation_id)
                        return await self._attempt(
                            project, conversation_id, base, command, command_id
                        )
            except Conflict as error:
                raise JournalUnavailable("the conversation is changed too fast") from error
        raise AssertionError("a retry context either returns or raises")

    async def granted(
        self, project: str, conversation_id: str, command_id: str
    ) -> tuple[Event, ...] | None:
        """The events a command once came to; none if the log holds no such command."""
        for stored in known(await self._journal.read(project, conversation_id, after=0)):
            if stored.message_id == command_id:
                return tuple(map(envelope.unpack, envelope.decode(stored.payload).events))
        return None

    async def command_id(self, project: str, conversation_id: str, beginning: str) -> str:
        """The first command id in the log that begins so; empty if there is none."""
        for stored in await self._journal.read(project, conversation_id, after=0):
            if stored.message_id.startswith(beginning):
                return stored.message_id
        return ""

    async def _attempt(
        self,
        project: str,
        conversation_id: str,
        kept: Loaded | None,
        command: Command,
        command_id: str,
    ) -> Granted:
        base, events = await self._decided(project, conversation_id, kept, command)
        if not events:
            return Granted(events=(), state=base.state, sequence=base.sequence)
        try:
            after = await self._append(project, conversation_id, base, events, command_id)
        except Conflict as conflict:
            mine = await self._granted_before(project, conversation_id, base, command_id)
            if mine is not None:
                return mine
            if not isinstance(conflict, Repeated):
                raise
            current = await self._current(project, conversation_id)
            return Granted(events=(), state=current.state, sequence=current.sequence)
        return Granted(events=events, state=after.state, sequence=after.sequence)

    async def _decided(
        self, project: str, conversation_id: str, kept: Loaded | None, command: Command
    ) -> tuple[Loaded, tuple[Event, ...]]:
        if kept is not None:
            with contextlib.suppress(Refused):
                events = self._decide(kept, command, project, conversation_id)
                if events:
                    # If this state is old, the append finds out.
                    return kept, events
        # Neither a refusal nor a "nothing to do" may rest on an old state.
        base = await self._current(project, conversation_id)
        return base, self._decide(base, command, project, conversation_id)

    def _decide(
        self, base: Loaded, command: Command, project: str, conversation_id: str
    ) -> tuple[Event, ...]:
        policy = self._policy.of(project)
        return decide(base.state, command, conversation_id=conversation_id, policy=policy)

    async def _append(
        self,
        project: str,
        conversation_id: str,
        base: Loaded,
        events: tuple[Event, ...],
        command_id: str,
    ) -> Loaded:
        at = clock.now()
        commit = envelope.Commit(
            id=command_id,
            conversation_id=conversation_id,
            project=project,
            at=at,
            actor=self._actor,
            prev=base.digest,
            events=tuple(envelope.pack(event) for event in events),
        )
        payload = await self._journal.encoded(commit)
        state = fold(base.state, ((event, at, UNSTORED) for event in events))
        sequence = await self._journal.append(
            project,
            conversation_id,
            payload,
            message_id=command_id,
            expected=base.sequence,
            headers=envelope.headers(commit, state.outline()),
        )
        after = Loaded(
            state=state.stored_at(sequence), sequence=sequence, digest=envelope.digest(payload)
        )
        self._keep(project, conversation_id, after)
        return after

    async def _granted_before(
        self, project: str, conversation_id: str, base: Loaded, command_id: str
    ) -> Granted | None:
        """The outcome of this very command, if an append thought lost has arrived after all."""
        loaded, mine = base, None
        commits = await self._journal.read(project, conversation_id, after=base.sequence)
        for stored in known(commits):
            loaded = advanced(loaded, stored)
            if stored.message_id == command_id:
                events = tuple(map(envelope.unpack, envelope.decode(stored.payload).events))
                mine = Granted(events=events, state=loaded.state, sequence=loaded.sequence)
        self._keep(project, conversation_id, loaded)
        return mine

    async def _current(self, project: str, conversation_id: str) -> Loaded:
        cached = self._cached(project, conversation_id) or Loaded()
        newest = await self._journal.last(project, conversation_id)
        if newest is None or newest.sequence <= cached.sequence:
            return cached
        if newest.previous == cached.sequence or envelope.erases(newest.payload):
            missing = [newest]
        else:
            missing = await self._journal.read(project, conversation_id, after=cached.sequence)
        loaded = cached
        for stored in missing:
            loaded = advanced(loaded, stored)
        self._keep(project, conversation_id, loaded)
        return loaded

    def forget(self, project: str, conversation_id: str) -> None:
        """Keep nothing of a conversation in memory."""
        dropped = self._cache.pop((project, conversation_id), None)
        if dropped is not None:
            self._rows -= dropped.weight

    def _cached(self, project: str, conversation_id: str) -> Loaded | None:
        key = (project, conversation_id)
        loaded = self._cache.get(key)
        if loaded is not None:
            self._cache.move_to_end(key)
        return loaded

    def _keep(self, project: str, conversation_id: str, loaded: Loaded) -> None:
        key = (project, conversation_id)
        before = self._cache.pop(key, None)
        if before is not None:
            self._rows -= before.weight
        self._cache[key] = loaded
        self._rows += loaded.weight
        while self._rows > self._rows_max and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._rows -= dropped.weight

    def _turnstile(self, project: str, conversation_id: str) -> asyncio.Lock:
        return self._turnstiles.setdefault((project, conversation_id), asyncio.Lock())


def known(commits: Sequence[Stored]) -> Sequence[Stored]:
    """Those of a conversation's commits, its newest with them, that anything is known of."""
    return commits[-1:] if commits and envelope.erases(commits[-1].payload) else commits


def advanced(loaded: Loaded, stored: Stored) -> Loaded:
    """``loaded`` after one more commit of the log; also what replays are made of."""
    commit = envelope.decode(stored.payload)
    events = map(envelope.unpack, commit.events)
    state = fold(loaded.state, ((event, commit.at, stored.sequence) for event in events))
    return Loaded(state=state, sequence=stored.sequence, digest=stored.digest)
