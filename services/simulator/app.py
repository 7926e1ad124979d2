"""The simulator as an ASGI application, without a framework: it is half of every load test."""

from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.http import checks
from schemas.http.errors import ApiError, Invalid, NotFound, ServerFault
from services.simulator import chat_completions, compact, responses
from services.simulator.answer import (
    MODELS,
    Answer,
    Ask,
    last_user_text,
    orders_of,
    plan,
    too_long,
)
from services.simulator.faults import NONE, TOO_LONG, Attempts, Frame
from services.simulator.reading import check_model
from services.simulator.received import Received
from services.simulator.reply import Reply

MODEL_CREATED = 1_756_000_000
_SERVER_ERROR = 500

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

    def frames(self, answer: Answer) -> tuple[list[Frame], int]:
        """Everything a streamed answer consists of, and how many frames end it."""
        ...


DOORS: dict[str, Callable[[bytes], Request]] = {
    "/v1/responses": responses.read,
    "/v1/responses/compact": compact.read,
    "/v1/chat/completions": chat_completions.read,
}


def build(
    *, requests_max: int = 1_000, bytes_max: int = 64 << 20, texts_max: int = 1_000
) -> ASGIApp:
    """The application; it remembers the newest ``requests_max`` requests, in ``bytes_max``.

    Of texts that limit their trouble it remembers the newest ``texts_max``.
    """
    received = Received(requests_max=requests_max, bytes_max=bytes_max)
    attempts = Attempts(texts_max=texts_max)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        with Reply(scope, receive, send) as reply:
            try:
                if scope["method"] == "POST" and scope["path"] in DOORS:
                    await _exchange(scope, reply, received, attempts)
                else:
                    await reply.whole(_lookup(scope, received, attempts))
            except ApiError as error:
                await reply.whole(error.body(), status=error.status)
            except Exception:
                log.exception("request.failed", path=scope["path"])
                if reply.started:
                    raise
                fault = ServerFault("The simulator failed.")
                await reply.whole(fault.body(), status=_SERVER_ERROR)

    return app


async def _exchange(scope: Scope, reply: Reply, received: Received, attempts: Attempts) -> None:
    payload = await reply.body()
    path = scope["path"]
    authorized = any(name == b"authorization" for name, _ in scope["headers"])
    exchange = received.add(path, authorized=authorized, body=payload)
    try:
        exchange.aborted = await _answer(DOORS[path](payload), reply, attempts)
    finally:
        exchange.ended = True


async def _answer(request: Request, reply: Reply, attempts: Attempts) -> bool:
    """Answer as ordered; whether the client left before the end."""
    ordered = orders_of(request.ask)
    delivery, trouble = ordered.delivery, ordered.trouble
    if trouble.times is not None and not attempts.due(last_user_text(request.ask.entries), trouble):
        ordered.trouble = trouble = NONE
    if delivery.wait_s and await reply.left_within(delivery.wait_s):
        return True
    error = trouble.error or (TOO_LONG if too_long(request.ask) else None)
    if error is not None:
        body, content_type, headers = error.reply()
        await reply.whole(body, status=error.status, content_type=content_type, headers=headers)
        return False
    if trouble.hang == "first":
        return await reply.left_within(None)
    if trouble.drop == "first":
        await reply.cut()
        return False
    answer = plan(request.ask, ordered)
    if request.stream:
        frames, ending = request.frames(answer)
        return await reply.events(frames, delivery, trouble, ending=ending)
    if delivery.delay_s and await reply.left_within(delivery.delay_s):
        return True
    return await reply.plain(request.whole(answer), trouble)


def _lookup(scope: Scope, received: Received, attempts: Attempts) -> bytes:
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
        attempts.clear()
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
