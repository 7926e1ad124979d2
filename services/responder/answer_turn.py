"""One turn request, from admission to its end in the log.

The order is the promise: admitted, then the model; stored, then acked, then told. Whatever dies
in between, the request is delivered again and finds in the log how far the turn had come.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from schemas.http import checks
from schemas.http.errors import ApiError, Overloaded, ServerFault
from schemas.turn_requests import TurnRequest
from services import clock, faults, ids
from services.conversation import commands
from services.conversation.decide import admitted, model_of
from services.conversation.history import Item, Turn
from services.conversation.refusals import AttemptSuperseded, NotCancellable
from services.conversation.response import render
from services.conversation.state import Conversation
from services.journal.conversations import Conversations
from services.model import Answer, ModelRefused, ModelUnavailable
from services.model.intake import Intake
from services.responder.admission import Admission, Admitted, LeftRunning, retold
from services.responder.ask_model import ModelAsker
from services.responder.asked import Asked, unread, unstored
from services.responder.at_work import AtWork
from services.responder.end_turn import TurnEnd, stored_end
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
from services.responder.running import HandedOver, RunningCalls, Stopped
from services.responder.telling import Deltas

STOPPING = "The server is stopping. Please retry."
"""What is told of a turn that cannot be handed over."""
TOO_LARGE = "The answer is too large to be told."
"""What is told of a turn of which nothing is stored, so that it cannot be read anywhere."""
TOO_OFTEN = "Too many attempts failed."
"""What is told of a turn that never began."""


class TurnAnswerer:
    """Answers turn requests with one model, over one log."""

    def __init__(
        self,
        conversations: Conversations,
        asker: ModelAsker,
        intake: Intake,
        admission: Admission,
        at_work: AtWork,
        *,
        told_bytes_max: int,
    ) -> None:
        """``admission`` decides which turns are run here.

        ``told_bytes_max`` bounds what the end of a turn can tell: no message has room for more.
        """
        self._conversations = conversations
        self._asker = asker
        self._intake = intake
        self._reader = RequestReader(conversations, intake)
        self._admission = admission
        self._at_work = at_work
        self._told_bytes_max = told_bytes_max
        self._calls = RunningCalls()

    async def answer(
        self,
        project: str,
        request: TurnRequest,
        deltas: Deltas,
        *,
        place: int,
        first: bool = False,
    ) -> Outcome:
        """Run a turn whose every step is in the log.

        ``place`` is the request's sequence on the queue. ``first``: it was never delivered before,
        as far as the queue knows. Raises `AttemptSuperseded` when another worker has the turn,
        `TakenElsewhere` when another request has, `LeftAlone` when it is not to be run now, and
        `HandedOver` when this process stops.
        """
        with self._working(project, request):
            try:
                asked = await self._read(project, request, first=first)
            except ApiError as refused:
                return refusal(refused)
            try:
                found = await self._admission.admit(asked, place=place, first=first)
            except AttemptSuperseded:
                raise
            except ApiError as refused:
                return await self._refused(asked, refused, place=place)
            return await self._answer(asked, found, deltas)

    async def _refused(self, asked: Asked, refused: ApiError, *, place: int) -> Outcome:
        """The end of a turn that may not begin: in the log, if its asker may look for it there."""
        if not asked.promised:
            return refusal(refused)
        failed = commands.FailTurn(
            response_id=asked.request.response_id,
            attempt=1,
            code="invalid_prompt",
            message=refused.message,
        )
        return await self._ended_waiting(
            asked.project, asked.request, asked.admission(ends=failed), place=place
        )

    async def give_up(self, project: str, request: TurnRequest, *, place: int) -> Outcome:
        """The end of a turn that was tried too often and never began.

        Whoever reads it all may not survive that: no more is read than what its asker was promised.
        """
        failed = commands.FailTurn(
            response_id=request.response_id, attempt=1, code="server_error", message=TOO_OFTEN
        )
        command = unread(request, ends=failed)
        if command is None:
            return refusal(ServerFault(TOO_OFTEN))
        return await self._ended_waiting(project, request, command, place=place)

    async def cancel_waiting(
        self, project: str, request: TurnRequest, *, place: int
    ) -> Outcome | None:
        """The end of a turn in the background that has not begun; none if it may not end so."""
        try:
            asked = await self._read(project, request, first=False)
        except ApiError as refused:
            return refusal(refused)
        if not asked.promised:
            return None
        cancelled = commands.CancelTurn(response_id=request.response_id)
        return await self._ended_waiting(
            project, request, asked.admission(ends=cancelled), place=place
        )

    async def _ended_waiting(
        self, project: str, request: TurnRequest, command: commands.RequestTurn, *, place: int
    ) -> Outcome:
        """The end of a turn that never began; as it was, if it has ended or begun meanwhile."""
        response_id, conversation_id = request.response_id, request.conversation_id
        try:
            granted = await self._conversations.grant(
                project,
                conversation_id,
                command,
                command_id=f"{response_id}.requested.{place}.ended",
            )
        except ApiError as refused:
            return refusal(refused)
        turn = granted.state.turns.get(response_id)
        if turn is None:
            raise LeftRunning(response_id)
        relay, sequence = Relay(ids.item_id), granted.sequence
        return end_of(turn, relay, conversation_id, sequence=sequence, streamed=turn.streamed)

    async def may_begin(self, project: str, request: TurnRequest) -> bool:
        """Whether a turn has not begun, and no other is in its way."""
        state = (await self._conversations.load(project, request.conversation_id)).state
        if state.turn(request.response_id) is not None:
            return False
        return state.turn_on_line is None or not request.on_line

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
            with self._working(project, request):
                call = self._asker.ask(asked, state, turn, relay, deltas)
                answered = await self._calls.run(asked.key, call)
            answer, summary = answered.answer, answered.summary
            output = self._intake.output(relay.output(answer))
        except ModelRefused as refused:
            if not relay.number:
                return refusal(refused)
            # A summary was told of already.
            answer = _failed(refused.message, turn, code=error_code(refused))
            output = self._partial(relay)
        except HandedOver:
            if not relay.number:
                return refusal(Overloaded(STOPPING))
            answer, output = _failed(STOPPING, turn), self._partial(relay)
        except (ModelUnavailable, msgspec.MsgspecError) as error:
            answer, output = _failed(told(error), turn), self._partial(relay)
        if sum(len(item.raw) for item in output) + len(turn.parameters) > self._told_bytes_max:
            # Its asker, told nothing, would ask the model again.
            answer, output = _failed(TOO_LARGE, turn), ()
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

    def stop(self, project: str, response_id: str, *, interrupted_by: str | None = None) -> bool:
        """Abort the model's answer to a turn; false if this process is not waiting for it.

        The turn then ends as cancelled, with what had been said.
        """
        key = (project, response_id)
        return self._at_work.times(key) > 0 and self._calls.stop(key, Stopped(interrupted_by))

    def hand_over(self) -> None:
        """Abort every answer of the model: others go on with the turns, where that can be told."""
        for key in self._at_work.all():
            self._calls.stop(key, HandedOver())

    @contextmanager
    def _working(self, project: str, request: TurnRequest) -> Iterator[None]:
        key = (project, request.response_id)
        with self._at_work.on(key):
            try:
                yield
            finally:
                if self._at_work.times(key) == 1:
                    self._calls.forget(key)

    async def _read(self, project: str, request: TurnRequest, *, first: bool) -> Asked:
        mint = ids.minting_items(request.conversation_id)
        try:
            return await self._reader.read(project, request, mint, first=first)
        except ApiError:
            # What has become of the conversation since is no reason to refuse what has begun: the
            # queue, killed, forgets that it has delivered a request.
            place = request.conversation_id, request.response_id
            if not first or await self._conversations.turn(project, *place) is None:
                raise
            return await self._reader.read(project, request, mint, first=False)

    async def _answer(self, asked: Asked, found: Admitted, deltas: Deltas) -> Outcome:
        turn = found.turn
        relay = Relay(ids.minting_items(asked.request.conversation_id), number=found.told)
        if turn.ended_at is not None:
            return self._told(asked, turn, relay, sequence=found.sequence)
        if found.failure is not None:
            failed = await self._fail(asked, turn, relay, found.failure)
            return msgspec.structs.replace(failed, given_up=found.given_up)
        faults.point("admitted")
        deltas.attempt = turn.attempt
        if asked.create.background and asked.create.store:
            self._calls.let_cancel(asked.key)
        if asked.create.background and not relay.number:
            queued = msgspec.structs.replace(turn, status="queued")
            frame = relay.queued(render(queued, conversation_id=asked.request.conversation_id))
            await deltas.put(frame, number=0)
            # The asker has its answer with this; the model may take hours.
            await deltas.flush()
        asked = msgspec.structs.replace(asked, retold=retold(asked, found.told))
        return await self._run(asked, found.state, turn, relay, deltas)

    async def _run(
        self, asked: Asked, state: Conversation, turn: Turn, relay: Relay, deltas: Deltas
    ) -> Outcome:
        try:
            call = self._asker.ask(asked, state, turn, relay, deltas)
            answered = await self._calls.run(asked.key, call)
            answer = answered.answer
            output = self._intake.of(turn.model).output(relay.output(answer))
        except Stopped as stopped:
            return await self._cancel(asked, turn, relay, stopped)
        except HandedOver:
            if asked.create.background or not relay.number:
                raise
            # Another answer could not be told behind what was told of this one.
            return await self._fail(asked, turn, relay, STOPPING)
        except ModelRefused as refused:
            told_of = asked.create.background or relay.number
            failed = await self._fail(asked, turn, relay, refused.message, code=error_code(refused))
            return failed if told_of else refusal(refused)
        except (ModelUnavailable, msgspec.MsgspecError) as error:
            return await self._fail(asked, turn, relay, told(error))
        except ApiError as error:
            # It has begun: whatever it cannot do, it ends in the log.
            return await self._fail(asked, turn, relay, error.message, code="invalid_prompt")
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

    async def _fail(
        self, asked: Asked, turn: Turn, relay: Relay, message: str, *, code: str = "server_error"
    ) -> End:
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

    async def _cancel(self, asked: Asked, turn: Turn, relay: Relay, stopped: Stopped) -> End:
        command = commands.CancelTurn(
            response_id=turn.id,
            items=self._partial(relay),
            interrupted_by=stopped.interrupted_by,
        )
        try:
            ended = await self._end(asked, relay, command)
            # The one it was ended for is next.
            return msgspec.structs.replace(ended, frees_line=stopped.interrupted_by is None)
        except NotCancellable as error:
            raise AttemptSuperseded(turn.id) from error

    def _partial(self, relay: Relay) -> tuple[Item, ...]:
        return self._intake.output(relay.partial())

    async def _end(
        self,
        asked: Asked,
        relay: Relay,
        command: TurnEnd,
    ) -> End:
        faults.point("answered")
        granted = await stored_end(
            self._conversations, asked.project, asked.request.conversation_id, command
        )
        turn = granted.state.turns.get(command.response_id)
        assert turn is not None
        return self._told(asked, turn, relay, sequence=granted.sequence)

    def _told(self, asked: Asked, turn: Turn, relay: Relay, *, sequence: int) -> End:
        conversation_id = asked.request.conversation_id
        streamed = asked.create.stream
        return end_of(turn, relay, conversation_id, sequence=sequence, streamed=streamed)


def _failed(message: str, turn: Turn, *, code: str = "server_error") -> Answer:
    return Answer(
        status="failed",
        items=(),
        usage=checks.NULL,
        model=turn.model,
        error_code=code,
        error_message=message,
    )
