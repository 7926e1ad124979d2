"""One turn request, from admission to its end in the log.

The order is the promise: admitted, then the model; stored, then acked, then told. Whatever dies
in between, the request is delivered again and finds in the log how far the turn had come.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from weakref import WeakValueDictionary

import msgspec
import stamina

from schemas.http import checks
from schemas.http.create_response import read_create
from schemas.http.errors import ApiError, ServerFault
from schemas.turn_requests import QUEUE, TurnRequest
from services import clock, ids
from services.conversation import commands
from services.conversation.decide import admitted, model_of
from services.conversation.history import Item, Turn
from services.conversation.refusals import AttemptSuperseded, ConversationLocked, NotCancellable
from services.conversation.response import render
from services.conversation.state import Conversation
from services.journal.conversations import Conversations, Granted
from services.model import Answer, ModelRefused, ModelUnavailable
from services.model.intake import Intake
from services.responder.ask_model import ModelAsker
from services.responder.asked import Asked, unstored
from services.responder.left_behind import left_behind, remembered
from services.responder.outcome import (
    End,
    Outcome,
    end_of,
    error_code,
    refusal,
    told,
)
from services.responder.read_request import RequestReader
from services.responder.relay import Relay
from services.responder.running import RunningCalls, Stopped
from services.responder.telling import BACKGROUND_OPENING, Deltas


class TakenElsewhere(Exception):
    """A request for a turn that another request, not yet acknowledged, has already begun."""


class DeliveredBefore(Exception):
    """A request whose turn is in the log, though the queue knows of no earlier delivery.

    The queue counts deliveries less strictly than it keeps requests: killed, it forgets the latest.
    """


class StillRunning(Exception):
    """A request whose earlier delivery is still worked on by this process."""


class TurnAnswerer:
    """Answers turn requests with one model, over one log."""

    def __init__(
        self, conversations: Conversations, asker: ModelAsker, intake: Intake, *, name: str
    ) -> None:
        """``name`` is this responder's, for the log of attempts."""
        self._conversations = conversations
        self._asker = asker
        self._intake = intake
        self._reader = RequestReader(conversations, intake)
        self._name = name
        self._calls = RunningCalls()
        self._lanes: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def answer(
        self,
        project: str,
        request: TurnRequest,
        deltas: Deltas,
        *,
        place: int,
        first: bool = False,
        told_before: int = 0,
    ) -> Outcome:
        """Run a turn whose every step is in the log.

        ``place`` is the request's sequence on the queue. ``first``: it was never delivered before,
        as far as the queue knows. ``told_before`` counts the events of an
        earlier attempt that may have reached a client: once they hold some of an answer, a second
        one could not be told after them. Raises `AttemptSuperseded` when another worker has the
        turn, `TakenElsewhere` when another request has, `StillRunning` when this worker has it, and
        `DeliveredBefore` when ``first`` is not so.
        """
        try:
            mint = ids.minting_items(request.conversation_id)
            asked = await self._reader.read(project, request, mint, first=first)
            async with self._lane(asked):
                return await self._answer(
                    asked, deltas, place=place, first=first, told_before=told_before
                )
        except AttemptSuperseded:
            raise
        except ApiError as refused:
            if first and await self._known(project, request):
                # What has become of the conversation since is no reason to refuse it now.
                raise DeliveredBefore(request.response_id) from refused
            return refusal(refused)

    async def answer_unstored(self, project: str, request: TurnRequest, deltas: Deltas) -> Outcome:
        """Run a turn of which nothing may be kept: no event, no file."""
        try:
            # Ids of what is not kept lead nowhere.
            asked = await self._reader.read(project, request, ids.item_id, first=True)
            state, command = await self._before(asked), asked.admission()
            admitted(state, command, conversation_id=request.conversation_id)
        except ApiError as refused:
            return refusal(refused)
        turn, summary = unstored(command, model=model_of(state, command)), None
        relay = Relay(ids.item_id)
        try:
            answered = await self._asker.ask(asked, state, turn, relay, deltas)
            answer, summary = answered.answer, answered.summary
            output = self._intake.output(relay.output(answer))
        except ModelRefused as refused:
            if not relay.number:
                return refusal(refused)
            # A summary was told of already.
            answer = _failed(refused.message, turn, code=error_code(refused))
            output = self._partial(relay)
        except (ModelUnavailable, msgspec.MsgspecError) as error:
            answer, output = _failed(told(error), turn), self._partial(relay)
        turn = msgspec.structs.replace(
            turn,
            status=answer.status,
            output=output,
            usage=answer.usage,
            model=answer.model,
            reason=answer.reason,
            error_code=answer.error_code,
            error_message=answer.error_message,
            ended_at=clock.now(),
        )
        end = self._told(asked, turn, relay, sequence=0)
        if not request.tells_context:
            return end
        left = left_behind(state, command, turn, summary, conversation_id=request.conversation_id)
        return msgspec.structs.replace(end, context=left)

    async def _before(self, asked: Asked) -> Conversation:
        given, parent = asked.request.before, asked.create.previous_response_id
        if given is not None and parent is not None:
            return remembered(parent, given.model, self._intake.output(given.items))
        return (await self._conversations.load(asked.project, asked.request.conversation_id)).state

    def stop(self, project: str, response_id: str) -> bool:
        """Abort the model's answer to a turn; false if this process is not waiting for it.

        The turn then ends as cancelled, with what had been said.
        """
        return self._calls.stop(project, response_id)

    async def give_up(
        self, project: str, request: TurnRequest, why: str, *, told_before: int
    ) -> Outcome:
        """End a turn that has been tried too often, unless it was never admitted or has ended."""
        loaded = await self._conversations.load(project, request.conversation_id)
        running = loaded.state.turn_running(request.response_id)
        turn = running or loaded.state.turns.get(request.response_id)
        if turn is None:
            return refusal(ServerFault(why))
        create = read_create(bytes(request.body), strict=False, generate=request.generate)
        asked = Asked(project=project, request=request, create=create, items=turn.input)
        relay = Relay(ids.item_id, number=told_before)
        if running is None:
            return self._told(asked, turn, relay, sequence=loaded.sequence)
        return await self._fail(asked, turn, relay, why)

    async def _known(self, project: str, request: TurnRequest) -> bool:
        state = (await self._conversations.load(project, request.conversation_id)).state
        running = state.turn_running(request.response_id)
        return running is not None or state.turns.get(request.response_id) is not None

    async def _answer(
        self, asked: Asked, deltas: Deltas, *, place: int, first: bool, told_before: int
    ) -> Outcome:
        granted = await self._admitted(asked, place=place, first=first)
        state, response_id = granted.state, asked.request.response_id
        turn = state.turn_running(response_id)
        relay = Relay(ids.minting_items(asked.request.conversation_id), number=told_before)
        if turn is None:
            # An earlier delivery has ended it: tell again what was, or should have been, told.
            ended = state.turns.get(response_id)
            assert ended is not None
            return self._told(asked, ended, relay, sequence=granted.sequence)
        if not granted.events:
            await self._check_delivery(asked, place=place, first=first)
            if told_before > (BACKGROUND_OPENING if asked.create.background else 0):
                return await self._fail(asked, turn, relay, "The answer was interrupted.")
            state, turn = await self._taken_over(asked, turn)
        if asked.create.background and not relay.number:
            queued = msgspec.structs.replace(turn, status="queued")
            frame = relay.queued(render(queued, conversation_id=asked.request.conversation_id))
            await deltas.put(frame, number=0)
            # The asker has its answer with this; the model may take hours.
            await deltas.flush()
        return await self._run(asked, state, turn, relay, deltas)

    async def _check_delivery(self, asked: Asked, *, place: int, first: bool) -> None:
        """Raise unless this delivery is to take over a turn that runs."""
        response_id = asked.request.response_id
        conversation_id = asked.request.conversation_id
        admission = await self._conversations.command_id(
            asked.project, conversation_id, f"{response_id}.requested."
        )
        ours = _admission_id(response_id, place)
        # Admissions of older releases do not name their request.
        if admission.count(".") == ours.count(".") and not admission.startswith(ours):
            # The same request came twice: whoever took the other one goes on with it.
            raise TakenElsewhere(response_id)
        if self._calls.running(asked.project, response_id):
            raise StillRunning(response_id)
        if first:
            raise DeliveredBefore(response_id)

    async def _admitted(self, asked: Asked, *, place: int, first: bool) -> Granted:
        request, create = asked.request, asked.create
        alone = create.conversation is None and create.previous_response_id is None

        async def grant() -> Granted:
            return await self._conversations.grant(
                asked.project,
                request.conversation_id,
                asked.admission(),
                # Each delivery has its own: who finds another's admission has to take over.
                command_id=_admission_id(request.response_id, place) + ids.unique(),
                fresh=first and alone,
            )

        if request.overlap != QUEUE:
            return await grant()
        # The lane keeps the order within this process; the turn in the way is another's.
        async for attempt in stamina.retry_context(
            on=ConversationLocked, attempts=None, timeout=None, wait_initial=0.02, wait_max=0.25
        ):
            with attempt:
                return await grant()
        raise AssertionError("a retry context either returns or raises")

    def _lane(self, asked: Asked) -> AbstractAsyncContextManager[object]:
        """First come, first served, for turns that wait for a conversation."""
        if asked.request.overlap != QUEUE or asked.create.conversation is None:
            return nullcontext()
        key = (asked.project, asked.request.conversation_id)
        return self._lanes.setdefault(key, asyncio.Lock())

    async def _run(
        self, asked: Asked, state: Conversation, turn: Turn, relay: Relay, deltas: Deltas
    ) -> Outcome:
        try:
            call = self._asker.ask(asked, state, turn, relay, deltas)
            answered = await self._calls.run(asked.project, turn.id, call)
            answer = answered.answer
            output = self._intake.output(relay.output(answer))
        except Stopped:
            return await self._cancel(asked, turn, relay)
        except ModelRefused as refused:
            told_of = asked.create.background or relay.number
            failed = await self._fail(asked, turn, relay, refused.message, code=error_code(refused))
            return failed if told_of else refusal(refused)
        except (ModelUnavailable, msgspec.MsgspecError) as error:
            return await self._fail(asked, turn, relay, told(error))
        if answer.status == "failed":
            return await self._fail(
                asked,
                turn,
                relay,
                answer.error_message or "The model failed.",
                code=answer.error_code or "server_error",
            )
        return await self._end(
            asked,
            relay,
            commands.CompleteTurn(
                response_id=turn.id,
                attempt=turn.attempt,
                status=answer.status,
                items=output,
                usage=answer.usage,
                model=answer.model,
                reason=answer.reason,
                summary=answered.summary,
            ),
        )

    async def _taken_over(self, asked: Asked, turn: Turn) -> tuple[Conversation, Turn]:
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
        return granted.state, running

    async def _fail(
        self, asked: Asked, turn: Turn, relay: Relay, message: str, *, code: str = "server_error"
    ) -> Outcome:
        return await self._end(
            asked,
            relay,
            commands.FailTurn(
                response_id=turn.id,
                attempt=turn.attempt,
                code=code,
                message=message,
                items=self._partial(relay),
            ),
        )

    async def _cancel(self, asked: Asked, turn: Turn, relay: Relay) -> Outcome:
        command = commands.CancelTurn(response_id=turn.id, items=self._partial(relay))
        try:
            return await self._end(asked, relay, command)
        except NotCancellable as error:
            raise AttemptSuperseded(turn.id) from error

    def _partial(self, relay: Relay) -> tuple[Item, ...]:
        return self._intake.output(relay.partial())

    async def _end(
        self,
        asked: Asked,
        relay: Relay,
        command: commands.CompleteTurn | commands.FailTurn | commands.CancelTurn,
    ) -> Outcome:
        granted = await self._conversations.grant(
            asked.project,
            asked.request.conversation_id,
            command,
            command_id=_end_id(command),
        )
        turn = granted.state.turns.get(command.response_id)
        assert turn is not None
        return self._told(asked, turn, relay, sequence=granted.sequence)

    def _told(self, asked: Asked, turn: Turn, relay: Relay, *, sequence: int) -> End:
        conversation_id = asked.request.conversation_id
        streamed = asked.create.stream
        return end_of(turn, relay, conversation_id, sequence=sequence, streamed=streamed)


def _admission_id(response_id: str, place: int) -> str:
    """What ids of all deliveries of one request begin with."""
    return f"{response_id}.requested.{place}."


def _end_id(command: commands.CompleteTurn | commands.FailTurn | commands.CancelTurn) -> str:
    if isinstance(command, commands.CancelTurn):
        return f"{command.response_id}.cancelled"
    return f"{command.response_id}.ended.{command.attempt}"


def _failed(message: str, turn: Turn, *, code: str = "server_error") -> Answer:
    return Answer(
        status="failed",
        items=(),
        usage=checks.NULL,
        model=turn.model,
        error_code=code,
        error_message=message,
    )
