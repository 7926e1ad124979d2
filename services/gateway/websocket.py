"""``/v1/responses`` as a WebSocket: requests and events as frames of one connection (contract 6.3).

A connection is one more way to ask for the same turns. All that is its own are its lanes, and what
it remembers of turns of which nothing is stored.
"""

import asyncio
from contextlib import AsyncExitStack, suppress

import msgspec
import structlog
from starlette.requests import HTTPConnection
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from schemas.http import stream_events, websocket
from schemas.http.create_response import CreateResponse, read_create
from schemas.http.errors import ApiError, Forbidden, Invalid, Overloaded
from schemas.turn_requests import TurnRequest
from services import clock, ids
from services.conversation.refusals import PreviousResponseUnknown
from services.gateway import answers
from services.gateway.asking import is_stored, overlap_of, turn_request
from services.gateway.body_reader import BodyReader
from services.gateway.contexts import Contexts
from services.gateway.identify import caller_of, project_of
from services.gateway.lanes import Lanes
from services.gateway.listener import Listener, ServerStopping, Told
from services.gateway.rate import RateLimited
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Turns
from services.journal import JournalUnavailable

GOING_AWAY = 1001
"""RFC 6455, section 7.4.1; the SDK connects again after it."""
SERVICE_RESTART = 1012
"""Of the registry RFC 6455 makes in section 11.7; the SDK connects again after it as well."""
FAREWELL_WAIT_S = 5.0
"""Seconds a client is given to take the last frame."""

log = structlog.get_logger()


class WebSocketEndpoint:
    """The door for clients that stay connected."""

    def __init__(self, turns: Turns, reader: BodyReader, settings: GatewaySettings) -> None:
        """``settings`` hold the limits of waits and connections."""
        self._turns = turns
        self._reader = reader
        self._settings = settings
        self._connections: set[_Connection] = set()
        self._leaving = False

    def leave(self) -> None:
        """Have every connection end as soon as it has told what has begun on it."""
        self._leaving = True
        for connection in tuple(self._connections):
            connection.leave()

    async def connect(self, socket: WebSocket) -> None:
        """GET /responses, upgraded."""
        _refuse_foreign_pages(socket)
        overlap = overlap_of(socket)
        await socket.accept()
        connection = _Connection(socket, self._turns, self._reader, self._settings, overlap=overlap)
        self._connections.add(connection)
        if self._leaving:
            connection.leave()
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)


def _refuse_foreign_pages(socket: HTTPConnection) -> None:
    """No page of another site may come in through its visitor's browser, which lets it read."""
    origin = socket.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != socket.headers.get("host"):
        raise Forbidden("Pages of other sites may not connect.", code="origin_not_allowed")


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn on its way, and how it is to be told."""

    listener: Listener
    response_id: str
    obfuscated: bool


class _Connection:
    def __init__(
        self,
        socket: WebSocket,
        turns: Turns,
        reader: BodyReader,
        settings: GatewaySettings,
        *,
        overlap: str,
    ) -> None:
        self._socket = socket
        self._turns = turns
        self._reader = reader
        self._held = 0
        self._settings = settings
        self._overlap = overlap
        self._project = project_of(socket)
        self._bucket = caller_of(socket.scope).bucket
        self._lanes = Lanes(self._answer, waiting_bytes_max=4 * settings.body_bytes_max)
        self._contexts = Contexts(bytes_max=2 * settings.body_bytes_max)
        self._life = asyncio.timeout(settings.websocket_life_s)
        self._leaving = False

    async def serve(self) -> None:
        """Until the client leaves, or has been here for long enough, or this process stops."""
        try:
            async with self._life:
                if self._leaving:
                    self._read_no_more()
                await self._read()
        except TimeoutError:
            if self._leaving:
                await self._finish()
            else:
                await self._lanes.close()
                await self._dismiss()
        finally:
            await self._lanes.close()
            # Of what nobody has begun to work on.
            self._let_go(self._held)

    def leave(self) -> None:
        """End as soon as what has begun is told."""
        self._leaving = True
        with suppress(RuntimeError):
            # It has not begun to read, or reads no more.
            self._read_no_more()

    def _read_no_more(self) -> None:
        self._life.reschedule(asyncio.get_running_loop().time())

    async def _read(self) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            stream_id = None
            try:
                create = websocket.read_frame(self._payload(message))
                stream_id = create.stream_id
                self._hold(create.size)
                try:
                    await self._lanes.put(create)
                except ApiError:
                    self._let_go(create.size)
                    raise
            except ApiError as refused:
                # It is on no lane: nobody waits there for its turn.
                await self._refuse(refused, stream_id)

    def _payload(self, message: Message) -> bytes:
        text: str | None = message.get("text")
        if text is None:
            raise Invalid("Invalid frame: expected text, but got binary.", code="invalid_frame")
        payload = text.encode()
        self._reader.check(len(payload))
        return payload

    def _hold(self, size: int) -> None:
        self._reader.hold(size)
        self._held += size

    def _let_go(self, size: int) -> None:
        self._reader.let_go(size)
        self._held -= size

    async def _answer(self, create: websocket.Create, asked: asyncio.Event) -> None:
        lane, size = create.stream_id, create.size
        try:
            async with AsyncExitStack() as opened:
                try:
                    turn = await self._ask(create, opened)
                finally:
                    # What was asked is on its way: only what becomes of it is held from here on.
                    del create
                    asked.set()
                    self._let_go(size)
                await self._copy(lane, turn)
        except (ApiError, JournalUnavailable) as fault:
            self._contexts.forget(lane)
            await self._refuse(answers.refusal_of(fault), lane)
        except Exception as fault:
            log.exception("request.crashed", path=self._socket.scope["path"])
            self._contexts.forget(lane)
            await self._refuse(answers.refusal_of(fault), lane)

    async def _ask(self, create: websocket.Create, opened: AsyncExitStack) -> _Turn:
        self._count()
        body, generate = websocket.body_of(create)
        read = read_create(body, strict=self._settings.strict, generate=generate)
        request = self._request(body, read, generate=generate)
        listening = self._turns.ask(self._project, request, stored=is_stored(read))
        return _Turn(
            listener=await opened.enter_async_context(listening),
            response_id=request.response_id,
            obfuscated=read.include_obfuscation,
        )

    def _count(self) -> None:
        if self._bucket is not None:
            taken = self._bucket.take(clock.monotonic())
            if taken.wait_s:
                raise RateLimited(taken)

    def _request(self, body: bytes, create: CreateResponse, *, generate: bool) -> TurnRequest:
        request = turn_request(
            body, create, overlap=self._overlap, answer_wait_s=self._settings.answer_wait_s
        )
        context = self._contexts.of(create.previous_response_id)
        if context is not None and is_stored(create):
            raise PreviousResponseUnknown(create.previous_response_id or "", unstored=True)
        return msgspec.structs.replace(
            request, generate=generate, before=context, tells_context=not is_stored(create)
        )

    async def _copy(self, lane: str | None, turn: _Turn) -> None:
        told: Told | None = None
        while told is None or not told.end:
            told = await self._told(turn.listener)
            if told.refusal is not None:
                self._contexts.forget(lane)
                await self._send(_refused(told, lane))
                return
            if told.end:
                # Before that is told: it may be followed at once.
                self._remember(lane, turn.response_id, turn.listener.context)
            payload = told.payload
            if turn.obfuscated:
                payload = stream_events.obfuscated(payload, ids.letters)
            for frame in stream_events.frames(payload):
                if not await self._send(websocket.event(stream_events.data(frame), lane)):
                    return

    async def _told(self, listener: Listener) -> Told:
        until = clock.monotonic() + self._settings.answer_wait_s
        while (left_s := until - clock.monotonic()) > 0:
            told = await listener.told(wait_s=min(left_s, self._settings.keep_alive_s))
            if told is not None:
                return told
        raise Overloaded("The turn has not ended in time. If it has begun, it goes on.")

    def _remember(self, lane: str | None, response_id: str, context: bytes | None) -> None:
        if context is None:
            self._contexts.forget(lane)
        else:
            self._contexts.keep(lane, response_id, context)

    async def _refuse(self, refused: ApiError, stream_id: str | None) -> None:
        frame = websocket.refusal(
            refused.body(),
            status=refused.status,
            retry_after_s=refused.retry_after_s,
            stream_id=stream_id,
        )
        await self._send(frame)

    async def _send(self, frame: bytes) -> bool:
        """Send a frame; false if the client has left, which is no reason to end any turn."""
        try:
            await self._socket.send_text(frame.decode())
        except (WebSocketDisconnect, RuntimeError):
            # The second one between a close and its end.
            self._lanes.stop()
            return False
        return True

    async def _finish(self) -> None:
        undone = await self._lanes.finish()
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(FAREWELL_WAIT_S):
                for create in undone:
                    stopping = ServerStopping("The server is stopping. Please retry.")
                    await self._refuse(stopping, create.stream_id)
                await self._socket.close(SERVICE_RESTART)

    async def _dismiss(self) -> None:
        limit_s = self._settings.websocket_life_s
        limit = f"{limit_s / 60:g} minutes"
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(FAREWELL_WAIT_S):
                await self._refuse(
                    Invalid(
                        f"Responses websocket connection limit reached ({limit}). "
                        "Create a new websocket connection to continue.",
                        code="websocket_connection_limit_reached",
                    ),
                    None,
                )
                await self._socket.close(GOING_AWAY)


def _refused(told: Told, stream_id: str | None) -> bytes:
    return websocket.refusal(
        told.payload,
        status=told.refusal or ApiError.status,
        retry_after_s=told.retry_after_s,
        stream_id=stream_id,
    )
