"""``/v1/responses``: turns asked for on the queue, their ends read from the log."""

import asyncio
from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from schemas import ids as id_forms
from schemas.http import checks, stream_events
from schemas.http import responses as bodies
from schemas.http.create_response import read_create
from schemas.http.errors import Invalid, Overloaded
from schemas.repeats import Mark
from schemas.turn_requests import TurnRequest
from services import clock, ids
from services.conversation import commands
from services.conversation.decide import before_input, cancellable
from services.conversation.history import Item, Turn
from services.conversation.refusals import ItemUnknown, ResponseUnknown
from services.conversation.response import render
from services.conversation.retelling import retold, terminal
from services.conversation.state import Conversation
from services.conversation.visible import readable_response
from services.gateway import answers
from services.gateway.asking import is_stored, overlap_of, turn_request
from services.gateway.event_stream import HEADERS, EventStream, Patience, begun, refused
from services.gateway.identify import project_of
from services.gateway.repeats import Repeats
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Listener, Turns
from services.gateway.waiting import WaitingTurns, promised, turn_of
from services.journal.conversations import Conversations
from services.journal.deltas import Deltas, joined

QUEUED_WAIT_S = 0.25
"""Seconds a turn in the background is given to begin, until its asker is told that it waits."""
CANCEL_WAIT_S = 5.0
"""Seconds a responder is given to end a turn it was asked to cancel."""
DELTAS_LATE_S = 2.0
"""Seconds after the end of a turn within which its last events may still be on their way."""
DELTAS_INTERVAL_S = 0.02


class ResponseEndpoints:
    """The operations on responses of the contract's section 1.2."""

    def __init__(
        self,
        conversations: Conversations,
        turns: Turns,
        deltas: Deltas,
        repeats: Repeats,
        waiting: WaitingTurns,
        settings: GatewaySettings,
    ) -> None:
        """``settings`` hold the limits of bodies and waits."""
        self._conversations = conversations
        self._turns = turns
        self._deltas = deltas
        self._repeats = repeats
        self._waiting = waiting
        self._settings = settings
        self._patience = Patience(
            answer_wait_s=settings.answer_wait_s, keep_alive_s=settings.keep_alive_s
        )

    async def create(self, request: Request) -> Response:
        """POST /responses, plain, as a stream, or in the background."""
        payload = await answers.read_body(request, bytes_max=self._settings.body_bytes_max)
        create = read_create(payload, strict=self._settings.strict)
        asked = turn_request(payload, create, overlap=overlap_of(request))
        project = project_of(request)
        stored, again = is_stored(create), False
        if stored:
            asked, again = await self._recalled(request, project, payload, asked)
        if again:
            listening = self._turns.follow(project, asked.response_id, number=0)
        else:
            listening = self._turns.ask(project, asked, stored=stored)
        if create.stream:
            return EventStream(listening, self._patience, obfuscated=create.include_obfuscation)
        async with listening as listener:
            if create.background:
                if promised(asked, create) and await listener.quiet(wait_s=QUEUED_WAIT_S):
                    return answers.raw(
                        render(turn_of(asked, create), conversation_id=asked.conversation_id)
                    )
                return await self._begun(project, asked.conversation_id, listener)
            return await self._plain(listener)

    async def retrieve(self, request: Request) -> Response:
        """GET /responses/{id}, as it is or as the stream of its events."""
        response_id, conversation_id = _ids(request)
        query = bodies.read_retrieve(request.query_params.multi_items())
        project = project_of(request)
        loaded = await self._conversations.load(project, conversation_id)
        turn = readable_response(loaded.state, response_id)
        if turn is None:
            turn = await self._waiting_turn(loaded.state, project, response_id)
        if query.stream:
            return await self._streamed(project, conversation_id, turn, query)
        return answers.raw(render(turn, conversation_id=conversation_id), sequence=loaded.sequence)

    async def delete(self, request: Request) -> Response:
        """DELETE /responses/{id}."""
        response_id, conversation_id = _ids(request)
        granted = await self._conversations.grant(
            project_of(request),
            conversation_id,
            commands.DeleteResponse(response_id=response_id),
            command_id=ids.unique(),
        )
        return answers.json(bodies.ResponseDeleted(id=response_id), sequence=granted.sequence)

    async def cancel(self, request: Request) -> Response:
        """POST /responses/{id}/cancel; its body, if there is one, is not read."""
        response_id, conversation_id = _ids(request)
        project = project_of(request)
        loaded = await self._conversations.load(project, conversation_id)
        if not known(loaded.state, response_id):
            await self._waiting_turn(loaded.state, project, response_id)
            await self._turns.cancel_waiting(project, response_id)
            loaded = await self._conversations.load(project, conversation_id)
        if cancellable(loaded.state, response_id):
            await self._turns.cancel(project, response_id, wait_s=CANCEL_WAIT_S)
        # Whoever ran it has ended it; if nobody does any more, this does.
        granted = await self._conversations.grant(
            project,
            conversation_id,
            commands.CancelTurn(response_id=response_id),
            command_id=ids.unique(),
        )
        turn = granted.state.turns.get(response_id)
        assert turn is not None
        return answers.raw(render(turn, conversation_id=conversation_id), sequence=granted.sequence)

    async def list_input_items(self, request: Request) -> Response:
        """GET /responses/{id}/input_items: what the model was sent, history first."""
        response_id, conversation_id = _ids(request)
        query = request.query_params.multi_items()
        limit, order, after = checks.page(query)
        checks.include(query)
        loaded = await self._conversations.load(project_of(request), conversation_id)
        turn = readable_response(loaded.state, response_id)
        if turn is None:
            raise ResponseUnknown(response_id)
        end = turn.line_start if turn.on_line else None
        before = before_input(loaded.state, on_line=turn.on_line, parent=turn.parent, end=end)
        items = _after((*before, *turn.input), order, after)
        page = tuple(islice(items, limit + 1))
        return answers.page(page[:limit], has_more=len(page) > limit, sequence=loaded.sequence)

    async def _recalled(
        self, request: Request, project: str, payload: bytes, asked: TurnRequest
    ) -> tuple[TurnRequest, bool]:
        """The turn to ask for, and whether it was asked for before and is there to be followed.

        One that was refused or has failed is asked for anew. So is one that was deleted, or is not
        its conversation's last any more: then the same again is more likely meant than repeated.
        """
        fresh = Mark(id=asked.response_id, conversation_id=asked.conversation_id)
        mark, repeated = await self._repeats.recall(request, project, payload, fresh)
        if not repeated:
            return asked, False
        state = (await self._conversations.load(project, mark.conversation_id)).state
        turn = state.turn_running(mark.id) or state.turns.get(mark.id)
        if turn is None:
            # Its id is spent: the queue takes no second request with it.
            over = await self._deltas.refused(project, mark.id)
        else:
            over = turn.status == "failed" or not _newest(turn, state)
        if over:
            await self._repeats.renew(request, project, payload, fresh)
            return asked, False
        # If the log does not know it, it still waits on the queue, or never came as far.
        known = replace(asked, response_id=mark.id, conversation_id=mark.conversation_id)
        return known, turn is not None

    async def _waiting_turn(self, state: Conversation, project: str, response_id: str) -> Turn:
        """A turn the log does not know yet; raises `ResponseUnknown` if nobody has asked for it."""
        turn = None
        if not known(state, response_id):
            turn = await self._waiting.find(project, response_id)
        if turn is None:
            raise ResponseUnknown(response_id)
        return turn

    async def _begun(self, project: str, conversation_id: str, listener: Listener) -> Response:
        """A turn in the background, once it is admitted."""
        told = await begun(listener, self._patience)
        if told.refusal is not None:
            return refused(told)
        loaded = await self._conversations.load(project, conversation_id)
        body = stream_events.response_in(stream_events.frames(told.payload)[0])
        return answers.raw(body, sequence=loaded.sequence)

    async def _plain(self, listener: Listener) -> Response:
        until = clock.monotonic() + self._settings.answer_wait_s
        while (left_s := until - clock.monotonic()) > 0:
            told = await listener.told(wait_s=min(left_s, self._settings.keep_alive_s))
            if told is None:
                continue
            if told.refusal is not None:
                return refused(told)
            if told.end:
                body = stream_events.response_in(told.payload)
                return answers.raw(body, sequence=told.sequence or None)
        raise Overloaded("The turn has not ended in time; it goes on.")

    async def _streamed(
        self, project: str, conversation_id: str, turn: Turn, query: bodies.RetrieveResponse
    ) -> Response:
        for made, flag in ((turn.background, "background"), (turn.streamed, "stream")):
            if not made:
                raise Invalid(
                    "This response cannot be streamed because it was not created with "
                    f"{flag}=true.",
                    param="stream",
                )
        number = 0 if query.starting_after is None else query.starting_after + 1
        if turn.ended_at is None:
            return EventStream(
                self._turns.follow(project, turn.id, number=number),
                self._patience,
                obfuscated=query.include_obfuscation,
            )
        payload = await self._kept(project, turn, number)
        if payload is None:
            # Its deltas are not kept any more. Who has seen some of them is only told the end: what
            # the log tells is numbered anew.
            payload = (
                terminal(turn, conversation_id=conversation_id, number=number)
                if number
                else b"".join(retold(turn, conversation_id=conversation_id))
            )
        if query.include_obfuscation:
            payload = stream_events.obfuscated(payload, ids.letters)
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        return Response(payload, headers=headers)

    async def _kept(self, project: str, turn: Turn, number: int) -> bytes | None:
        """The events of an ended turn from ``number`` on, if all of them are kept."""
        assert turn.ended_at is not None
        while True:
            told = joined(await self._deltas.read(project, turn.id), number=number)
            if told.end:
                return told.payload
            if (clock.now() - turn.ended_at).total_seconds() > DELTAS_LATE_S:
                return None
            # The end is heard a moment before it is kept.
            await asyncio.sleep(DELTAS_INTERVAL_S)


def known(state: Conversation, response_id: str) -> bool:
    """Whether a turn was let begin."""
    return bool(state.turn_running(response_id) or state.turns.get(response_id))


def _newest(turn: Turn, state: Conversation) -> bool:
    if turn.id in state.responses_deleted:
        return False
    return turn.ended_at is None or not turn.on_line or turn.line_end == len(state.line)


def _after(items: Sequence[Item], order: str, after: str | None) -> Sequence[Item]:
    listed = items[::-1] if order == "desc" else items
    if after is None:
        return listed
    for index, item in enumerate(listed):
        if item.id == after:
            return listed[index + 1 :]
    raise ItemUnknown(after)


def _ids(request: Request) -> tuple[str, str]:
    name = "response_id"
    response_id = checks.named(answers.path_id(request, name), id_forms.RESPONSE_PREFIX, name)
    conversation_id = id_forms.conversation_of(response_id)
    if conversation_id is None:
        raise ResponseUnknown(response_id)
    return response_id, conversation_id
