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
from services.simulator.gates import Gates
from services.simulator.reading import check_model
from services.simulator.received import Received
from services.simulator.reply import Reply

GATES = "/simulator/gates/"
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


class Memory(msgspec.Struct, frozen=True):
    """What is known of earlier requests."""

    received: Received
    attempts: Attempts
    gates: Gates


DOORS: dict[str, Callable[[bytes], Request]] = {
    "/v1/responses": responses.read,
    "/v1/responses/compact": compact.read,
    "/v1/chat/completions": chat_completions.read,
}


def build(
    *, requests_max: int = 1_000, bytes_max: int = 64 << 20, texts_max: int = 1_000
) -> ASGIApp:
    """The application; it remembers the newest ``requests_max`` requests, in ``bytes_max``.

    Of texts that limit their trouble, and of gates, it remembers the newest ``texts_max``.
    """
    memory = Memory(
        Received(requests_max=requests_max, bytes_max=bytes_max),
        Attempts(texts_max=texts_max),
        Gates(names_max=texts_max),
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        with Reply(scope, receive, send) as reply:
            try:
                if scope["method"] == "POST" and scope["path"] in DOORS:
                    await _exchange(scope, reply, memory)
                else:
                    await reply.whole(_lookup(scope, memory))
            except ApiError as error:
                await reply.whole(error.body(), status=error.status)
            except Exception:
                log.exception("request.failed", path=scope["path"])
                if reply.started:
                    raise
                fault = ServerFault("The simulator failed.")
                await reply.whole(fault.body(), status=_SERVER_ERROR)

    return app


async def _exchange(scope: Scope, reply: Reply, memory: Memory) -> None:
    payload = await reply.body()
    path = scope["path"]
    authorized = any(name == b"authorization" for name, _ in scope["headers"])
    exchange = memory.received.add(path, authorized=authorized, body=payload)
    try:
        exchange.aborted = await _answer(DOORS[path](payload), reply, memory)
    finally:
        exchange.ended = True


async def _answer(request: Request, reply: Reply, memory: Memory) -> bool:
    """Answer as ordered; whether the client left before the end."""
    ordered = orders_of(request.ask)
    delivery, trouble = ordered.delivery, ordered.trouble
    attempted = last_user_text(request.ask.entries)
    if trouble.times is not None and not memory.attempts.due(attempted, trouble):
        ordered.trouble = trouble = NONE
    gate = delivery.gate
    opened = None if gate is None else memory.gates.opened(gate.name)
    whole = not request.stream or (gate is not None and gate.place == "first")
    if opened is not None and whole and await reply.left_before(opened):
        return True
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
        return await reply.events(frames, delivery, trouble, ending=ending, opened=opened)
    if delivery.delay_s and await reply.left_within(delivery.delay_s):
        return True
    return await reply.plain(request.whole(answer), trouble)


def _lookup(scope: Scope, memory: Memory) -> bytes:
    method, path = scope["method"], scope["path"]
    if method == "GET" and path == "/v1/models":
        return _encode({"object": "list", "data": [_model(name) for name in MODELS]})
    if method == "GET" and path.startswith("/v1/models/"):
        name = check_model(path.removeprefix("/v1/models/"), chat=True)
        return _encode(_model(name))
    if method == "GET" and path == "/simulator/requests":
        return memory.received.newest(_limit(scope["query_string"]))
    if method == "DELETE" and path == "/simulator/requests":
        for part in (memory.received, memory.attempts, memory.gates):
            part.clear()
        return b"{}"
    if method == "POST" and path.startswith(GATES):
        memory.gates.open(path.removeprefix(GATES))
        return b"{}"
    if method == "GET" and path == "/simulator/counts":
        return _encode(memory.received.counts)
    raise NotFound(f"Invalid URL ({method} {path})")


def _limit(query: bytes) -> int:
    given = dict(parse_qsl(query.decode("latin-1"))).get("limit", "1000")
    if not given.isdecimal():
        raise Invalid(f"Invalid value for 'limit': '{given}'.", param="limit", code="invalid_value")
    checks.bounded(int(given), "limit", least=0, most=None, noun="integer")
    return int(given)


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": "turnlog"}
