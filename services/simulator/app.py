"""The simulator as an ASGI application, without a framework: it is half of every load test.

Frames of a stream with no delay between them leave in as few writes as possible.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.http import checks
from schemas.http.errors import ApiError, Error, ErrorBody, Invalid, NotFound, ServerFault, TooLarge
from services import ids
from services.simulator import chat_completions, responses
from services.simulator.answer import MODELS, Answer, Ask, plan
from services.simulator.reading import check_model
from services.simulator.received import Received
from services.simulator.responses import Frame

BODY_BYTES_MAX = 64 << 20
WRITE_BYTES = 64 << 10
MODEL_CREATED = 1_756_000_000

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
_STREAM_HEADERS = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_RETRY_AFTER = [(b"retry-after", b"1")]
_OK, _TOO_MANY, _SERVER_ERRORS = 200, 429, 500

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class Request(Protocol):
    """A request of either API, read and ready to be answered."""

    @property
    def ask(self) -> Ask:
        """What the answer depends on."""
        ...

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted in pieces."""
        ...

    def whole(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        ...

    def frames(self, answer: Answer) -> list[Frame]:
        """Everything a streamed answer consists of."""
        ...


DOORS: dict[str, Callable[[bytes], Request]] = {
    "/v1/responses": responses.read,
    "/v1/chat/completions": chat_completions.read,
}


def build(*, requests_max: int = 1_000, bytes_max: int = 64 << 20) -> ASGIApp:
    """The application; it remembers the newest ``requests_max`` requests, in ``bytes_max``."""
    received = Received(requests_max=requests_max, bytes_max=bytes_max)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        reply = _Reply(receive, send)
        try:
            if scope["method"] == "POST" and scope["path"] in DOORS:
                await _answer(scope, reply, received)
            else:
                await reply.json(_lookup(scope, received))
        except ApiError as error:
            await reply.json(error.body(), status=error.status)
        except Exception:
            log.exception("request.failed", path=scope["path"])
            if reply.started:
                raise
            await reply.json(ServerFault("The simulator failed.").body(), status=_SERVER_ERRORS)

    return app


class _Reply:
    """One exchange: the body that came, the answer that goes."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.started = False

    async def body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise TooLarge(f"The body is longer than {BODY_BYTES_MAX} bytes.")
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def json(
        self,
        payload: bytes,
        *,
        status: int = _OK,
        headers: list[tuple[bytes, bytes]] | None = None,
        drop: bool = False,
    ) -> None:
        length = (b"content-length", b"%d" % len(payload))
        await self._start(status, JSON, [length, *(headers or ())])
        # An answer that is left unfinished makes the server cut the connection.
        part = payload[: len(payload) // 2] if drop else payload
        await self._write(part, more=drop)

    async def events(self, frames: list[Frame], *, delay_s: float, drop: bool) -> None:
        await self._start(_OK, EVENTS, _STREAM_HEADERS)
        sent = frames[: len(frames) // 2] if drop else frames
        gone = asyncio.create_task(_next(self._receive)) if delay_s else None
        waiting: list[bytes] = []
        size = 0
        try:
            for paced, payload in sent:
                if gone and paced:
                    await self._write(b"".join(waiting), more=True)
                    waiting, size = [], 0
                    if await _passed(delay_s, gone):
                        return
                elif size > WRITE_BYTES:
                    await self._write(b"".join(waiting), more=True)
                    waiting, size = [], 0
                waiting.append(payload)
                size += len(payload)
        finally:
            if gone:
                gone.cancel()
        await self._write(b"".join(waiting), more=drop)

    async def _start(
        self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.started = True
        request_id = (b"x-request-id", b"req_" + ids.unique().encode())
        all_headers = [(b"content-type", content_type), request_id, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def _write(self, payload: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": payload, "more_body": more})


async def _answer(scope: Scope, reply: _Reply, received: Received) -> None:
    payload = await reply.body()
    path = scope["path"]
    authorized = any(name == b"authorization" for name, _ in scope["headers"])
    received.add(path, authorized=authorized, body=payload)
    request = DOORS[path](payload)
    answer = plan(request.ask)
    if answer.error is not None:
        headers = _RETRY_AFTER if answer.error == _TOO_MANY else None
        await reply.json(_ordered_error(answer.error), status=answer.error, headers=headers)
    elif request.stream:
        await reply.events(request.frames(answer), delay_s=answer.delay_s, drop=answer.drop)
    else:
        await asyncio.sleep(answer.delay_s)
        await reply.json(request.whole(answer), drop=answer.drop)


async def _next(receive: Receive) -> Message:
    return await receive()


async def _passed(delay_s: float, gone: "asyncio.Task[Message]") -> bool:
    """Wait; whether the client has gone meanwhile."""
    done, _ = await asyncio.wait((gone,), timeout=delay_s)
    return bool(done)


def _ordered_error(status: int) -> bytes:
    error = Error(message=f"The simulator was told to answer {status}.")
    if status == _TOO_MANY:
        error = Error(
            message="Rate limit reached. Please try again in 1s.",
            type="requests",
            code="rate_limit_exceeded",
        )
    elif status >= _SERVER_ERRORS:
        error = Error(message=responses.FAILURE.message, type="server_error")
    return _encode(ErrorBody(error))


def _lookup(scope: Scope, received: Received) -> bytes:
    method, path = scope["method"], scope["path"]
    if method == "GET" and path == "/v1/models":
        return _encode({"object": "list", "data": [_model(name) for name in MODELS]})
    if method == "GET" and path.startswith("/v1/models/"):
        name = check_model(path.removeprefix("/v1/models/"), chat=True)
        return _encode(_model(name))
    if method == "GET" and path == "/simulator/requests":
        return received.newest(_limit(scope["query_string"]))
    if method == "DELETE" and path == "/simulator/requests":
        received.clear()
        return b"{}"
    if method == "GET" and path == "/simulator/counts":
        return _encode(received.counts)
    raise NotFound(f"Invalid URL ({method} {path})")


def _limit(query: bytes) -> int:
    given = dict(parse_qsl(query.decode("latin-1"))).get("limit", "1000")
    if not given.isdecimal():
        raise Invalid(f"Invalid value for 'limit': '{given}'.", param="limit", code="invalid_value")
    checks.bounded(int(given), "limit", least=0, most=None, noun="integer")
    return int(given)


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": "turnlog"}
