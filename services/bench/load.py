"""The load ``turnlog bench`` makes: clients that ask one thing at a time and time the answer.

They share the machine with what they measure, so `WireClient` spends as little as it can: one
kept connection, no headers read, the body decoded after the clock has stopped.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import click
import httptools
import msgspec

from schemas.http import stream_events
from services import clock
from services.simulator.entries import Entry

MODEL = "simulator"
ANSWER_WAIT_S = 60.0
"""Seconds after which a call has failed."""
CANCEL_INTERVAL_S = 0.1
_OK = 200
_DELTA = b'"response.output_text.delta"'
_END = b"event: response.completed\n"


class BenchFailed(click.ClickException):
    """An answer was wrong or missing, so nothing that was measured counts."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to be asked for; ``earlier`` is the history the client itself must send."""

    text: str
    earlier: tuple[Entry, ...] = ()
    conversation_id: str | None = None
    stream: bool = False


class Heard(NamedTuple):
    """The text of an answer, seconds to all of it, and to its first delta if it was streamed."""

    text: str
    total_s: float
    first_s: float


class Client(Protocol):
    """One user of a server: calls one after another, each checked and timed."""

    async def turn(self, said: Said) -> Heard:
        """Ask for a turn."""
        ...

    async def open_conversation(self) -> str:
        """Id of a new conversation."""
        ...

    async def add_item(self, conversation_id: str, text: str) -> float:
        """Add a user message; seconds it took."""
        ...

    async def list_items(self, conversation_id: str, *, limit: int) -> tuple[float, list[str]]:
        """Seconds, and the texts of the newest messages, newest first."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class Part(msgspec.Struct):
    """A part of a message."""

    text: str = ""


class Message(msgspec.Struct):
    """What is read of an item."""

    content: list[Part] = []


class ListedItems(msgspec.Struct):
    """What is read of a page of items."""

    data: list[Message]


class Created(msgspec.Struct):
    """What is read of a new conversation."""

    id: str


class Answered(msgspec.Struct):
    """What is read of a response."""

    status: str
    output: list[Message]

    def text(self) -> str:
        """The output text; raises `BenchFailed` if the turn did not complete."""
        if self.status != "completed":
            raise BenchFailed(f"a turn ended as {self.status}")
        return "".join(part.text for item in self.output for part in item.content)


_encode = msgspec.json.Encoder().encode
_answered = msgspec.json.Decoder(Answered).decode
_created = msgspec.json.Decoder(Created).decode
_listed = msgspec.json.Decoder(ListedItems).decode


async def at_once(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run ``calls`` together; the first that fails ends the others, and its error is raised."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        # Until Python 3.12 asyncio.wait_for, as nats-py uses it, may swallow a cancellation.
        while running := [task for task in tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=CANCEL_INTERVAL_S)
    for task in tasks:
        if not task.cancelled():
            task.result()


def input_of(said: Said) -> str | list[dict[str, str]]:
    """The ``input`` of a request: with what the client sends of earlier turns, if it must."""
    if not said.earlier:
        return said.text
    history = [{"role": entry.role, "content": entry.text} for entry in said.earlier]
    return [*history, {"role": "user", "content": said.text}]


class _Reply(NamedTuple):
    body: bytes
    total_s: float
    first_s: float


class _Exchange(asyncio.Protocol):
    """A kept HTTP/1.1 connection with at most one request under way."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[_Reply] | None = None
        self._parts: list[bytes] = []
        self._begun = self._first_s = 0.0
        self._mark: bytes | None = None
        self._tail = b""

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, *, mark: bytes | None) -> _Reply:
        """Send ``request``; the answer, with the time ``mark`` first came in its body."""
        assert self._transport is not None
        self._reply = asyncio.get_running_loop().create_future()
        self._parts, self._mark, self._tail, self._first_s = [], mark, b"", 0.0
        self._begun = clock.monotonic()
        self._transport.write(request)
        async with asyncio.timeout(ANSWER_WAIT_S):
            return await self._reply

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are transports in all but name.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the server does not speak HTTP: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"the server cut the connection: {exc or 'closed'}")

    def on_body(self, body: bytes) -> None:
        """As httptools says."""
        self._parts.append(body)
        if self._mark is not None:
            seen = self._tail + body
            if self._mark in seen:
                self._first_s = clock.monotonic() - self._begun
                self._mark = None
            self._tail = seen[-len(_DELTA) :]

    def on_message_complete(self) -> None:
        """As httptools says."""
        total_s = clock.monotonic() - self._begun
        status, body = self._parser.get_status_code(), b"".join(self._parts)
        if status != _OK:
            self._fail(f"a call was answered {status}: {body[:300].decode(errors='replace')}")
        elif self._reply is not None and not self._reply.done():
            self._reply.set_result(_Reply(body, total_s, self._first_s))

    def _fail(self, why: str) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(BenchFailed(why))


class WireClient:
    """A client of one connection, made when it is needed."""

    def __init__(self, url: str, *, key: str) -> None:
        """``url`` ends in ``/v1``."""
        self._url = urlsplit(url)
        if not self._url.hostname:
            raise BenchFailed(f"{url} does not name a server: http://HOST:PORT/v1 does")
        self._host = self._url.hostname
        self._headers = (
            f"host: {self._url.netloc}\r\nauthorization: Bearer {key}\r\n"
            "content-type: application/json\r\n"
        )
        self._exchange: _Exchange | None = None

    async def turn(self, said: Said) -> Heard:
        """As the protocol says."""
        body: dict[str, object] = {"model": MODEL, "input": input_of(said)}
        if said.conversation_id is not None:
            body["conversation"] = said.conversation_id
        if not said.stream:
            reply = await self._ask("POST", "/responses", body)
            return Heard(_answered(reply.body).text(), reply.total_s, 0.0)
        reply = await self._ask("POST", "/responses", {**body, "stream": True}, mark=_DELTA)
        end = reply.body.rfind(_END)
        if end < 0 or not reply.first_s:
            raise BenchFailed("a stream ended without response.completed or without a delta")
        answered = _answered(stream_events.response_in(reply.body[end:].strip()))
        return Heard(answered.text(), reply.total_s, reply.first_s)

    async def open_conversation(self) -> str:
        """As the protocol says."""
        return _created((await self._ask("POST", "/conversations", {})).body).id

    async def add_item(self, conversation_id: str, text: str) -> float:
        """As the protocol says."""
        items = [{"type": "message", "role": "user", "content": text}]
        reply = await self._ask("POST", f"/conversations/{conversation_id}/items", {"items": items})
        if [part.text for item in _listed(reply.body).data for part in item.content] != [text]:
            raise BenchFailed("items.create answered with another item")
        return reply.total_s

    async def list_items(self, conversation_id: str, *, limit: int) -> tuple[float, list[str]]:
        """As the protocol says."""
        reply = await self._ask("GET", f"/conversations/{conversation_id}/items?limit={limit}")
        items = _listed(reply.body).data
        return reply.total_s, ["".join(part.text for part in item.content) for item in items]

    async def aclose(self) -> None:
        """As the protocol says."""
        if self._exchange is not None:
            self._exchange.close()

    async def _ask(
        self, method: str, path: str, body: object = None, *, mark: bytes | None = None
    ) -> _Reply:
        payload = b"" if body is None else _encode(body)
        head = f"{method} {self._url.path}{path} HTTP/1.1\r\n{self._headers}"
        request = f"{head}content-length: {len(payload)}\r\n\r\n".encode() + payload
        # A server closes what was quiet for some seconds; that is no part of a call.
        if self._exchange is None or not self._exchange.usable:
            self._exchange = await self._connected()
        try:
            return await self._exchange.ask(request, mark=mark)
        except TimeoutError as error:
            raise BenchFailed(f"{method} {path}: no answer in {ANSWER_WAIT_S:g} s") from error

    async def _connected(self) -> _Exchange:
        secure = self._url.scheme == "https"
        port = self._url.port or (443 if secure else 80)
        try:
            _, exchange = await asyncio.get_running_loop().create_connection(
                _Exchange, self._host, port, ssl=secure or None
            )
        except OSError as error:
            raise BenchFailed(f"{self._url.netloc} cannot be reached: {error}") from error
        return exchange
