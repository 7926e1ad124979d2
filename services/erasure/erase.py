"""Erases conversations, step by step; see the package."""

import asyncio
import hashlib
from contextlib import suppress
from datetime import date, datetime

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import deltas, envelope, subjects
from schemas import ids as id_forms
from schemas.events import ConversationErased
from schemas.upcasters import EventUnknown
from services import clock, faults, ids
from services.conversation.refusals import ConversationUnknown
from services.conversation.state import NEW, Conversation, evolve
from services.encryption import Altered
from services.erasure.traces import Traces
from services.journal import Conflict, JournalUnavailable, Stored
from services.journal.conversations import Loaded, advanced
from services.journal.destroying import destroy_key
from services.journal.jetstream import JetStreamJournal
from services.journal.publishing import MESSAGE_ID
from services.journal.vault import Vault

END_S_MAX = 10.0
"""Seconds a turn that runs is given to end."""
ASK_S = 0.5
"""Seconds in which whoever runs a turn says so."""
NOTE_S_MAX = 60.0
"""Seconds for which an erasure is tried to be noted while others write to the conversation."""


class Trail(msgspec.Struct, frozen=True):
    """A commit that was erased, and the SHA-256 of what the log held."""

    sequence: int
    sha256: str


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased of a conversation, and where; ``sequence`` is that of its erasure.

    ``key`` is the id of the key that was destroyed. Counted are messages that were deleted; what an
    earlier attempt had deleted is not among them, but for commits. ``trail`` has the commits that
    are known still.
    """

    project: str
    conversation_id: str
    sequence: int
    at: datetime
    digest: str
    commits: int
    key: str | None
    removed: int
    requests: int = 0
    deltas: int = 0
    claims: int = 0
    marks: int = 0
    parked: int = 0
    trail: tuple[Trail, ...] = ()


class Eraser:
    """Erases conversations of one log; its methods raise `JournalUnavailable`."""

    def __init__(self, client: Client, vault: Vault | None, *, actor: str) -> None:
        """``actor`` signs the commits; ``vault`` is there if anything is encrypted."""
        self._client = client
        self._vault = vault
        self._actor = actor
        self._journal = JetStreamJournal(client)
        self._opened = JetStreamJournal(client, vault)
        self._traces = Traces(client)

    async def known(self, project: str, conversation_id: str) -> int:
        """Commits the log has of a conversation."""
        return len(await self._journal.read(project, conversation_id, after=0))

    async def finish(self, project: str, conversation_id: str) -> None:
        """Go on with an erasure that was begun, if one was."""
        newest = await self._journal.last(project, conversation_id)
        if newest is not None and envelope.erases(newest.payload):
            await self.erase(project, conversation_id)

    async def erase(self, project: str, conversation_id: str) -> Erased:
        """Erase a conversation, or finish what was begun; raises `ConversationUnknown`."""
        stored, trail = await self._noted(project, conversation_id)
        state = await self._last_state(project, conversation_id)
        commit = envelope.decode(stored.payload)
        event = envelope.unpack(commit.events[0])
        assert isinstance(event, ConversationErased)
        faults.point("erasure_noted")
        await self._tell(project, conversation_id)
        requests = await self._end_turns(project, conversation_id, state)
        faults.point("turns_ended")
        counts = await self._forget(project, conversation_id, state)
        faults.point("traces_deleted")
        if self._vault is not None:
            kept = await destroy_key(self._client, project, conversation_id)
            faults.point("key_destroyed")
            await self._traces.delete(subjects.ENCRYPTION_KEYS, kept)
            faults.point("key_overwritten")
        for sequence in event.removed:
            await self._traces.delete(subjects.CONVERSATIONS, [sequence])
            faults.point("commit_removed")
        # Again: others may have missed it, and hold what they had before.
        await self._tell(project, conversation_id)
        return Erased(
            project=project,
            conversation_id=conversation_id,
            sequence=stored.sequence,
            at=commit.at,
            digest=stored.digest,
            commits=event.commits,
            key=event.key,
            removed=len(event.removed),
            requests=requests,
            trail=trail,
            **counts,
        )

    async def _last_state(self, project: str, conversation_id: str) -> Conversation:
        """What the conversation was before it was erased, as far as that can be read still."""
        loaded = Loaded()
        # Of an erasure that is finished only now not all may be there.
        with suppress(EventUnknown, Altered, msgspec.MsgspecError):
            for stored in await self._opened.read(project, conversation_id, after=0):
                if not envelope.erases(stored.payload):
                    loaded = advanced(loaded, stored)
        return loaded.state

    async def _noted(self, project: str, conversation_id: str) -> tuple[Stored, tuple[Trail, ...]]:
        """The commit that says so in the log, and those before it that are there."""
        known, until = _Known(), clock.monotonic() + NOTE_S_MAX
        while clock.monotonic() < until:
            # Only what is new: whoever writes meanwhile is not to be faster for ever.
            for stored in await self._journal.read(project, conversation_id, after=known.sequence):
                if envelope.erases(stored.payload):
                    return stored, tuple(known.trail)
                known.add(stored)
            if not known.trail:
                raise ConversationUnknown(conversation_id)
            try:
                return await self._append(project, conversation_id, known), tuple(known.trail)
            except Conflict:
                continue
        raise JournalUnavailable("the conversation is changed too fast")

    async def _append(self, project: str, conversation_id: str, known: "_Known") -> Stored:
        event, last, at = known.erasure(), known.trail[-1], clock.now()
        commit = envelope.Commit(
            id=ids.unique(),
            conversation_id=conversation_id,
            project=project,
            at=at,
            actor=self._actor,
            prev=last.sha256,
            events=(envelope.pack(event),),
        )
        payload = envelope.encode(commit)
        outline = evolve(NEW, event, at=at, sequence=0).outline()
        sequence = await self._journal.append(
            project,
            conversation_id,
            payload,
            message_id=commit.id,
            expected=last.sequence,
            headers=envelope.headers(commit, outline),
        )
        return Stored(
            sequence=sequence, previous=last.sequence, message_id=commit.id, payload=payload
        )

    async def _tell(self, project: str, conversation_id: str) -> None:
        """Have everybody forget what is in memory."""
        await self._client.publish(subjects.erased(project, conversation_id))
        await self._client.flush()

    async def _end_turns(self, project: str, conversation_id: str, state: Conversation) -> int:
        """End turns that run, and take requests off the queue; how many there were."""
        requests = await self._traces.requests(project, conversation_id)
        waiting = {(each.headers or {}).get(MESSAGE_ID, "") for each in requests}
        await self._traces.delete(subjects.TURN_REQUESTS, requests)
        running = {turn.id for turn in state.running}
        for response_id in sorted(waiting | running):
            if id_forms.acceptable(response_id):
                await self._end(project, conversation_id, response_id)
        return len(requests)

    async def _end(self, project: str, conversation_id: str, response_id: str) -> None:
        until = clock.monotonic() + END_S_MAX
        while clock.monotonic() < until:
            try:
                await self._client.request(subjects.cancel(project, response_id), timeout=ASK_S)
            except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
                break
            await asyncio.sleep(ASK_S / 10)
        refused = ConversationUnknown(conversation_id)
        headers = {
            deltas.KIND_HEADER: deltas.REFUSAL,
            deltas.STATUS_HEADER: str(refused.status),
        }
        # Whoever listens is told; it says nothing of what was said.
        subject = subjects.delta(project, response_id)
        await self._client.publish(subject, refused.body(), headers=headers)

    async def _forget(
        self, project: str, conversation_id: str, state: Conversation
    ) -> dict[str, int]:
        """Delete what is kept beside the log."""
        traces, owner = self._traces, (project, conversation_id)
        responses = [turn.id for turn in (*state.turns.upwards(0), *state.running)]
        said = await traces.deltas(*owner, responses)
        kept = [each for each in said if not _is_refusal(each)]
        return {
            "deltas": await traces.delete(subjects.DELTAS, kept),
            "claims": await traces.delete(subjects.CLAIMS, await traces.claims(*owner)),
            "marks": await traces.delete(subjects.REPEATS, await traces.marks(*owner)),
            "parked": await traces.delete(subjects.PARKED, await traces.parked(*owner)),
        }


class _Known:
    """The commits of a conversation, as far as they were read; none of their content."""

    def __init__(self) -> None:
        self.trail: list[Trail] = []
        self._whole = hashlib.sha256()
        self._key: str | None = None
        self._plain = False
        self._days: set[date] = set()

    @property
    def sequence(self) -> int:
        """That of the last one."""
        return self.trail[-1].sequence if self.trail else 0

    def add(self, stored: Stored) -> None:
        """The next one."""
        commit = envelope.decode(stored.payload)
        if commit.key is msgspec.UNSET:
            self._plain = True
        else:
            self._key = commit.key
        self._whole.update(envelope.trail_line(stored.sequence, stored.digest))
        self._days.add(commit.at.date())
        self.trail.append(Trail(stored.sequence, stored.digest))

    def erasure(self) -> ConversationErased:
        """The event that erases them."""
        return ConversationErased(
            commits=len(self.trail),
            head=self.trail[-1].sha256,
            trail=self._whole.hexdigest(),
            key=self._key,
            removed=tuple(each.sequence for each in self.trail) if self._plain else (),
            days=tuple(sorted(self._days)),
        )


def _is_refusal(message: Msg) -> bool:
    return (message.headers or {}).get(deltas.KIND_HEADER) == deltas.REFUSAL
