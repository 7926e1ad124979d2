"""``/v1/responses``: turns asked for on the queue, their ends read from the log."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schemas import ids as id_forms
from schemas import turn_requests
from schemas.http import responses as bodies
from schemas.http import stream_events
from schemas.http.checks import one_of
from schemas.http.errors import ApiError, Invalid, Overloaded
from services import clock, ids
from services.conversation import commands
from services.conversation.decide import visible_response
from services.conversation.refusals import (
    ConversationUnknown,
    PreviousResponseUnknown,
    ResponseUnknown,
)
from services.conversation.response import render
from services.gateway import answers
from services.gateway.identify import project_of
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Listener, Told, Turns
from services.journal.conversations import Conversations

OVERLAP_HEADER = "Turnlog-Overlap"
_KEEP_ALIVE = b": keep-alive\n\n"
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class ResponseEndpoints:
    """Create, retrieve and delete of the contract's section 1.2."""

    def __init__(
        self, conversations: Conversations, turns: Turns, settings: GatewaySettings
    ) -> None:
        """``settings`` hold the limits of bodies and waits."""
        self._conversations = conversations
        self._turns = turns
        self._settings = settings

    async def create(self, request: Request) -> Response:
        """POST /responses, plain or as a stream."""
        payload = await answers.read_body(request, bytes_max=self._settings.body_bytes_max)
        create = bodies.read_create(payload)
        stored = create.store or create.conversation is not None
        asked = _turn_request(request, payload, create, stored=stored)
        project = project_of(request)
        if create.stream:
            return _Streamed(self._turns, project, asked, self._settings, stored=stored)
        async with self._turns.ask(project, asked, stored=stored) as listener:
            return await self._plain(listener)

    async def retrieve(self, request: Request) -> Response:
        """GET /responses/{id}."""
        response_id, conversation_id = _ids(request)
        loaded = await self._conversations.load(project_of(request), conversation_id)
        turn = visible_response(loaded.state, response_id)
        if turn is None:
            raise ResponseUnknown(response_id)
        if request.query_params.get("stream") == "true":
            raise Invalid(
                "This response cannot be streamed because it was not created with background=true.",
                param="stream",
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

    async def _plain(self, listener: Listener) -> Response:
        until = clock.monotonic() + self._settings.answer_wait_s
        while (left_s := until - clock.monotonic()) > 0:
            told = await listener.told(wait_s=left_s)
            if told is None:
                break
            if told.refusal is not None:
                return _refused(told)
            if told.end:
                body = stream_events.response_in(told.payload)
                return answers.raw(body, sequence=told.sequence or None)
        raise Overloaded("The turn has not ended in time; it goes on.")


class _Streamed(Response):
    """Server-sent events, copied through as they come.

    The client may leave: the turn is finished and stored all the same.
    """

    def __init__(
        self,
        turns: Turns,
        project: str,
        asked: turn_requests.TurnRequest,
        settings: GatewaySettings,
        *,
        stored: bool,
    ) -> None:
        self._turns = turns
        self._project = project
        self._asked = asked
        self._settings = settings
        self._stored = stored
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._turns.ask(self._project, self._asked, stored=self._stored) as listener:
            first = await listener.told(wait_s=self._settings.answer_wait_s)
            if first is None:
                raise Overloaded("The turn has not begun in time; it goes on.")
            if first.refusal is not None:
                await _refused(first)(scope, receive, send)
                return
            start = {"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS}
            await send(start)
            await self._copy(listener, first, send)

    async def _copy(self, listener: Listener, first: Told, send: Send) -> None:
        told: Told | None = first
        while told is None or not told.end:
            payload = told.payload if told else _KEEP_ALIVE
            await send({"type": "http.response.body", "body": payload, "more_body": True})
            told = await listener.told(wait_s=self._settings.keep_alive_s)
        await send({"type": "http.response.body", "body": told.payload, "more_body": False})


def _refused(told: Told) -> Response:
    answer = answers.raw(told.payload, status=told.refusal or ApiError.status)
    if told.retry_after_s is not None:
        answer.headers["Retry-After"] = str(told.retry_after_s)
    return answer


def _turn_request(
    request: Request, payload: bytes, create: bodies.CreateResponse, *, stored: bool
) -> turn_requests.TurnRequest:
    overlap = one_of(
        request.headers.get(OVERLAP_HEADER, turn_requests.REJECT),
        (turn_requests.QUEUE, turn_requests.REJECT),
        OVERLAP_HEADER,
    )
    conversation_id = create.conversation
    if conversation_id is None and create.previous_response_id is not None:
        conversation_id = id_forms.conversation_of(create.previous_response_id)
        if conversation_id is None:
            raise PreviousResponseUnknown(create.previous_response_id)
    fresh = ids.conversation_id()
    conversation_id = conversation_id or fresh
    # The id of a turn that is not kept leads nowhere.
    response_id = ids.response_id(conversation_id if stored else fresh)
    if stored and id_forms.conversation_of(response_id) != conversation_id:
        # No id of this shape was ever minted here.
        raise ConversationUnknown(conversation_id)
    return turn_requests.TurnRequest(
        response_id=response_id,
        conversation_id=conversation_id,
        body=msgspec.Raw(payload),
        overlap=overlap,
        asked_at=clock.now(),
    )


def _ids(request: Request) -> tuple[str, str]:
    response_id = answers.path_id(request, "response_id")
    conversation_id = id_forms.conversation_of(response_id)
    if conversation_id is None:
        raise ResponseUnknown(response_id)
    return response_id, conversation_id
