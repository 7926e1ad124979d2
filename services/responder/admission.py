"""Who may run a turn: nobody before it is in the log, and nobody while somebody else does."""

from contextlib import suppress
from typing import ClassVar, Protocol

import msgspec
import stamina

from schemas import turn_requests
from services import clock, ids
from services.conversation import commands
from services.conversation.decide import window_of
from services.conversation.history import Turn
from services.conversation.refusals import AttemptSuperseded, ConversationLocked
from services.conversation.state import Conversation
from services.journal.conversations import Conversations, Granted
from services.responder.asked import Asked
from services.responder.at_work import AtWork, Colleagues
from services.responder.telling import BACKGROUND_OPENING

INTERRUPTED = "The answer was interrupted."
INTERRUPT_S_MAX = 10.0
"""Seconds in which an interrupt has to find the conversation free."""
END_WAIT_S = 2.0
"""Seconds in which a turn ends whose responder says that it ends it."""


class _StillThere(Exception):
    """A turn that is to end has not."""


class TakenElsewhere(Exception):
    """A request for a turn that another request, not yet acknowledged, has already begun."""


class LeftAlone(Exception):
    """A request that is not to be worked on now: it stays on the queue, and comes again."""

    reason: ClassVar[str]


class LeftWaiting(LeftAlone):
    """Another turn runs on the conversation; who ends it looks who waits."""

    reason = "conversation_busy"


class LeftRunning(LeftAlone):
    """Somebody works on it already."""

    reason = "running"


class Told(Protocol):
    """What turns have said, as far as it is kept."""

    async def told(self, project: str, response_id: str) -> int:
        """How many events of a response have been told."""

    async def fence(self, project: str, response_id: str, *, attempt: int) -> int:
        """The same, while nothing that attempts before ``attempt`` tell counts any more."""


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that is in the log at ``sequence``, to be run here if it has not ended.

    ``told`` counts the events that earlier attempts have told. ``failure``: why it is not tried
    again; ``given_up`` if that is for having been tried too often.
    """

    state: Conversation
    turn: Turn
    sequence: int
    told: int = 0
    failure: str | None = None
    given_up: bool = False


class Admission:
    """Lets turns begin, go on after a loss, or end another one first."""

    def __init__(
        self,
        conversations: Conversations,
        kept: Told,
        at_work: AtWork,
        colleagues: Colleagues,
        *,
        name: str,
        attempts_max: int,
    ) -> None:
        """``name`` is this responder's, for the log of attempts."""
        self._conversations = conversations
        self._kept = kept
        self._at_work = at_work
        self._colleagues = colleagues
        self._name = name
        self._attempts_max = attempts_max

    async def admit(self, asked: Asked, *, place: int, first: bool) -> Admitted:
        """The turn to run, or to tell again.

        ``place`` is the request's sequence on the queue; ``first``: it was never delivered before,
        as far as the queue knows. Raises `Refused`, `LeftAlone` and `TakenElsewhere`.
        """
        granted = await self._granted(asked, place=place, first=first)
        state, response_id = granted.state, asked.request.response_id
        turn = state.turn(response_id)
        assert turn is not None
        if turn.ended_at is not None:
            # An earlier delivery has ended it: tell again what was, or should have been, told.
            told = await self._kept.told(*asked.key)
            return Admitted(state=state, turn=turn, sequence=granted.sequence, told=told)
        if granted.events:
            return Admitted(state=state, turn=turn, sequence=granted.sequence)
        await self._check_lost(asked, place=place)
        return await self._taken_over(asked, lost=turn.attempt)

    async def _granted(self, asked: Asked, *, place: int, first: bool) -> Granted:
        try:
            return await self._grant(asked, place=place, first=first)
        except ConversationLocked:
            match asked.request.overlap:
                case turn_requests.QUEUE:
                    return await self._waiting(asked, place=place)
                case turn_requests.INTERRUPT:
                    return await self._interrupting(asked, place=place)
                case _:
                    raise

    async def _grant(
        self, asked: Asked, *, place: int, first: bool = False, interrupts: str | None = None
    ) -> Granted:
        request, create = asked.request, asked.create
        alone = create.conversation is None and create.previous_response_id is None
        return await self._conversations.grant(
            asked.project,
            request.conversation_id,
            asked.admission(interrupts=interrupts),
            # Each delivery has its own: who finds another's admission has to take over.
            command_id=_admission_id(request.response_id, place) + ids.unique(),
            fresh=first and alone,
        )

    async def _waiting(self, asked: Asked, *, place: int) -> Granted:
        """Admission of a turn that waits, unless whoever runs the one in its way knows of it."""
        in_way, own = await self._in_way(asked), asked.request.response_id
        if in_way not in {None, own} and await self._colleagues.wait_for((asked.project, in_way)):
            raise LeftWaiting(own)
        try:
            # It has just ended, or is lost with its responder.
            return await self._grant(asked, place=place)
        except ConversationLocked:
            raise LeftWaiting(own) from None

    async def _interrupting(self, asked: Asked, *, place: int) -> Granted:
        """Admission of a turn that ends the one in its way, whichever that is by then."""
        loaded = await self._conversations.load(asked.project, asked.request.conversation_id)
        # Nothing is interrupted for what would be refused.
        window_of(
            loaded.state,
            asked.items,
            conversation_id=asked.request.conversation_id,
            on_line=True,
            parent=None,
        )
        until = clock.monotonic() + INTERRUPT_S_MAX
        while True:
            in_way, own = await self._in_way(asked), asked.request.response_id
            ended_here = None
            if in_way not in {None, own}:
                if await self._colleagues.interrupt((asked.project, in_way), by=own):
                    await self._wait_for_end(asked, in_way)
                else:
                    # Nobody runs it any more: it ends in the commit that lets this one begin.
                    ended_here = in_way
            try:
                return await self._grant(asked, place=place, interrupts=ended_here)
            except ConversationLocked:
                # Another turn was faster.
                if clock.monotonic() > until:
                    raise

    async def _in_way(self, asked: Asked) -> str | None:
        loaded = await self._conversations.load(asked.project, asked.request.conversation_id)
        on_line = loaded.state.turn_on_line
        return None if on_line is None else on_line.id

    async def _wait_for_end(self, asked: Asked, response_id: str) -> None:
        """Return when a turn has ended, or soon: whoever was to end it may be lost meanwhile."""
        with suppress(_StillThere):
            async for attempt in stamina.retry_context(
                on=_StillThere, attempts=None, timeout=END_WAIT_S, wait_initial=0.005, wait_max=0.1
            ):
                with attempt:
                    if await self._in_way(asked) == response_id:
                        raise _StillThere

    async def _check_lost(self, asked: Asked, *, place: int) -> None:
        """Raise unless whoever let the turn begin is lost, so that it is to be taken over."""
        response_id = asked.request.response_id
        if self._at_work.times(asked.key) > 1:
            raise LeftRunning(response_id)
        with self._at_work.aside(asked.key):
            if await self._colleagues.work_on(asked.key):
                raise LeftRunning(response_id)
        if self._at_work.times(asked.key) > 1:
            raise LeftRunning(response_id)
        admission = await self._conversations.command_id(
            asked.project, asked.request.conversation_id, f"{response_id}.requested."
        )
        ours = _admission_id(response_id, place)
        # Admissions of older releases do not name their request.
        if admission.count(".") == ours.count(".") and not admission.startswith(ours):
            # The same request came twice: whoever takes the other one goes on with it.
            raise TakenElsewhere(response_id)

    async def _taken_over(self, asked: Asked, *, lost: int) -> Admitted:
        """The turn, once its attempt ``lost`` has been superseded by one of ours."""
        loaded = await self._conversations.load(asked.project, asked.request.conversation_id)
        turn = loaded.state.turn_running(asked.request.response_id)
        if turn is None or turn.attempt != lost:
            # Somebody else has asked the same, and was faster.
            raise AttemptSuperseded(asked.request.response_id)
        told = await self._kept.told(*asked.key)
        found = Admitted(state=loaded.state, turn=turn, sequence=loaded.sequence, told=told)
        if told and not asked.create.background:
            # A second answer could not be told behind the beginning of another.
            return msgspec.structs.replace(found, failure=INTERRUPTED)
        if turn.attempt >= self._attempts_max:
            return msgspec.structs.replace(
                found, failure="Too many attempts failed.", given_up=True
            )
        attempt = turn.attempt + 1
        granted = await self._conversations.grant(
            asked.project,
            asked.request.conversation_id,
            commands.StartAttempt(response_id=turn.id, attempt=attempt, responder=self._name),
            command_id=f"{turn.id}.started.{attempt}.{self._name}",
        )
        running = granted.state.turn_running(turn.id)
        if running is None:
            raise AttemptSuperseded(turn.id)
        told = await self._kept.fence(*asked.key, attempt=attempt)
        return Admitted(
            state=granted.state,
            turn=running,
            sequence=granted.sequence,
            told=told,
            failure=INTERRUPTED if told and not asked.create.background else None,
        )


def retold(asked: Asked, told: int) -> bool:
    """Whether earlier attempts have told more than that the turn has begun."""
    return told > (BACKGROUND_OPENING if asked.create.background else 0)


def _admission_id(response_id: str, place: int) -> str:
    """What ids of all deliveries of one request begin with."""
    return f"{response_id}.requested.{place}."
