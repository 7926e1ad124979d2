"""``/v1/responses``: turns asked for on the queue, their ends read from the log."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import islice

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from schemas import ids as id_forms
from schemas.http import checks, stream_events
from schemas.http import responses as bodies
from schemas.http.create_response import read_create
from schemas.http.errors import Invalid, Overloaded
from schemas.turn_requests import promised
from services import clock, ids
from services.conversation import commands
from services.conversation.decide import before_input, cancellable
from services.conversation.history import Item, Turn
from services.conversation.refusals import ItemUnknown, ResponseUnknown
from services.conversation.response import render
from services.conversation.state import Conversation
from services.conversation.visible import readable_response
from services.gateway import answers
from services.gateway.asking import is_stored, overlap_of, turn_request
from services.gateway.body_reader import BodyReader
from services.gateway.event_stream import EventStream, Patience, begun, refused
from services.gateway.identify import project_of
from services.gateway.keys import key_of
from services.gateway.listener import Ended, Listener
from services.gateway.repeated_turns import Found, RepeatedTurns
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Turns
from services.gateway.waiting import WaitingTurns, turn_of
from services.journal.conversations import Conversations

QUEUED_WAIT_S = 0.25
"""Seconds a turn in the background is given to begin, until its asker is told that it waits."""
CANCEL_WAIT_S = 5.0
"""Seconds a responder is given to end a turn it was asked to cancel."""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A turn on its way, and how it is to be told."""

    listener: Listener
    conversation_id: str
    stream: bool
    background: bool
    obfuscated: bool
    queued: Turn | None = None
    """What it is until it begins, if it is promised to be there until then."""


class ResponseEndpoints:
    """The operations on responses of the contract's section 1.2."""

    def __init__(
        self,
        conversations: Conversations,
        turns: Turns,
        reader: BodyReader,
        repeated: RepeatedTurns,
        waiting: WaitingTurns,
        settings: GatewaySettings,
    ) -> None:
        """``settings`` hold the limits of bodies and waits."""
        self._conversations = conversations
        self._turns = turns
        self._reader = reader
        self._repeated = repeated
        self._waiting = waiting
        self._settings = settings
        self._patience = Patience(
            answer_wait_s=settings.answer_wait_s, keep_alive_s=settings.keep_alive_s
        )

    async def create(self, request: Request) -> Response:
        """POST /responses, plain, as a stream, or in the background."""
        async with AsyncExitStack() as opened:
            asked = await self._asked(request, opened)
            # What was asked is on its way: from here on only what becomes of it is held.
            self._reader.release(request)
            if asked.stream:
                return EventStream(
                    asked.listener, opened.pop_all(), self._patience, obfuscated=asked.obfuscated
                )
            if asked.background:
                queued = asked.queued
                if queued is not None and await asked.listener.quiet(wait_s=QUEUED_WAIT_S):
                    return answers.raw(render(queued, conversation_id=asked.conversation_id))
                return await self._begun(project_of(request), asked)
            return await self._plain(asked.listener)

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
            return await self._streamed(
                project, conversation_id, turn, query, sequence=loaded.sequence
            )
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
        if loaded.state.turn(response_id) is None:
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

    async def _asked(self, request: Request, opened: AsyncExitStack) -> _Asked:
        payload = await self._reader.read(request)
        create = read_create(payload, strict=self._settings.strict)
        asked = turn_request(
            payload,
            create,
            overlap=overlap_of(request),
            answer_wait_s=self._settings.answer_wait_s,
        )
        project = project_of(request)
        found, stored, key = Found(request=asked), is_stored(create), key_of(request)
        if stored and key is not None:
            found = await self._repeated.claimed(project, key, asked)
        elif stored:
            found = await self._repeated.recalled(request, project, payload, asked)
        asked = found.request
        if found.asked:
            listening = self._turns.follow(project, asked.response_id, number=0, ended=found.ended)
        else:
            listening = self._turns.ask(project, asked, stored=stored)
        waits = promised(asked, background=create.background, store=create.store)
        may_wait = found.ended is None and waits
        return _Asked(
            listener=await opened.enter_async_context(listening),
            conversation_id=asked.conversation_id,
            stream=create.stream,
            background=create.background,
            obfuscated=create.include_obfuscation,
            queued=turn_of(asked, create) if may_wait else None,
        )

    async def _waiting_turn(self, state: Conversation, project: str, response_id: str) -> Turn:
        """A turn the log does not know yet; raises `ResponseUnknown` if nobody has asked for it."""
        turn = None
        if state.turn(response_id) is None:
            turn = await self._waiting.find(project, response_id)
        if turn is None:
            raise ResponseUnknown(response_id)
        return turn

    async def _begun(self, project: str, asked: _Asked) -> Response:
        """A turn in the background, once it is admitted."""
        told = await begun(asked.listener, self._patience)
        if told.refusal is not None:
            return refused(told)
        loaded = await self._conversations.load(project, asked.conversation_id)
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
        raise Overloaded("The turn has not ended in time. If it has begun, it goes on.")

    async def _streamed(
        self,
        project: str,
        conversation_id: str,
        turn: Turn,
        query: bodies.RetrieveResponse,
        *,
        sequence: int,
    ) -> Response:
        for made, flag in ((turn.background, "background"), (turn.streamed, "stream")):
            if not made:
                raise Invalid(
                    "This response cannot be streamed because it was not created with "
                    f"{flag}=true.",
                    param="stream",
                )
        number = 0 if query.starting_after is None else query.starting_after + 1
        ended = None
        if turn.ended_at is not None:
            ended = Ended(turn=turn, conversation_id=conversation_id, sequence=sequence)
        async with AsyncExitStack() as opened:
            listener = await opened.enter_async_context(
                self._turns.follow(project, turn.id, number=number, ended=ended)
            )
            return EventStream(
                listener, opened.pop_all(), self._patience, obfuscated=query.include_obfuscation
            )


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
