"""Asks for one thing at a time and notes all that is told of it, whatever dies meanwhile."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import nats.errors
import openai
from nats.aio.client import Client
from nats.aio.msg import Msg
from openai import AsyncOpenAI

from schemas import deltas, subjects
from schemas.http import stream_events
from schemas.http.beside import OVERLAP_HEADER
from services import ids
from services.journal.jetstream import MESSAGE_ID
from tests.faults.audit import TERMINAL
from tests.faults.evidence import Refusal, Turn, Write
from tests.whole.running import MODEL, PROJECT

FAULTS = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError)
PUBLISH_WAIT_S = 5.0
POLL_S = 0.1


def body_of(turn: Turn, content: Any, **fields: Any) -> dict[str, Any]:
    """The body that asks for a turn."""
    body = {"model": MODEL, "input": content, **fields}
    if turn.parent is not None:
        return {**body, "previous_response_id": turn.parent}
    return body if turn.conversation_id is None else {**body, "conversation": turn.conversation_id}


def _headers(turn: Turn) -> dict[str, str]:
    headers = {OVERLAP_HEADER: turn.overlap}
    return {**headers, "Idempotency-Key": turn.tag} if turn.keyed else headers


async def plain(client: AsyncOpenAI, turn: Turn, content: Any, **fields: Any) -> None:
    """A turn whose answer comes in one piece."""

    async def ask() -> None:
        answer = await client.responses.with_raw_response.create(
            **body_of(turn, content, **fields), extra_headers=_headers(turn)
        )
        _end(turn, json.loads(answer.http_response.content))

    await _noted(turn, ask)


async def streamed(client: AsyncOpenAI, turn: Turn, content: Any, **fields: Any) -> None:
    """A turn that is told while it runs."""

    async def ask() -> None:
        asked = client.responses.with_streaming_response.create(
            **body_of(turn, content, **fields), stream=True, extra_headers=_headers(turn)
        )
        async with asked as answer:
            async for line in answer.iter_lines():
                if line.startswith("data: "):
                    _hear(turn, json.loads(line.removeprefix("data: ")))
        if turn.ended is None:
            turn.lost = "the stream ended without an end"

    await _noted(turn, ask)


async def background(
    client: AsyncOpenAI,
    turn: Turn,
    content: Any,
    *,
    cancel_after_s: float | None = None,
    wait_s: float = 45.0,
    **fields: Any,
) -> None:
    """A turn that is asked after until it has ended, or cancelled."""

    async def ask() -> None:
        answer = await client.responses.with_raw_response.create(
            **body_of(turn, content, **fields), background=True, extra_headers=_headers(turn)
        )
        begun = json.loads(answer.http_response.content)
        turn.response_id, turn.accepted_at = begun["id"], time.monotonic()

    await _noted(turn, ask)
    if turn.accepted_at is None:
        return
    if cancel_after_s is not None:
        await asyncio.sleep(cancel_after_s)
        await _cancelled(client, turn)
    # Whatever is told while it runs, it ends.
    until = time.monotonic() + wait_s
    while turn.ended is None and time.monotonic() < until:
        try:
            answer = await client.responses.with_raw_response.retrieve(turn.response_id)
            found = json.loads(answer.http_response.content)
            if found["status"] not in {"queued", "in_progress"}:
                _end(turn, found)
                return
        except FAULTS as error:
            turn.lost = type(error).__name__
        await asyncio.sleep(POLL_S)


async def _cancelled(client: AsyncOpenAI, turn: Turn) -> None:
    try:
        answer = await client.responses.with_raw_response.cancel(turn.response_id)
        _end(turn, json.loads(answer.http_response.content))
    except FAULTS as error:
        turn.lost = type(error).__name__


class QueueDoor:
    """Turns put straight onto the queue over a connection that comes back by itself."""

    def __init__(self, client: Client) -> None:
        """``client`` reconnects for ever."""
        self._client = client

    async def ask(self, turn: Turn, content: Any, *, stream: bool, wait_s: float = 30.0) -> None:
        """A turn of a conversation that exists, told on its delta subject."""
        assert turn.conversation_id is not None
        turn.response_id = ids.response_id(turn.conversation_id)
        ended = asyncio.Event()

        async def hear(message: Msg) -> None:
            read_delta(turn, message)
            if turn.ended is not None or turn.refusal is not None:
                ended.set()

        subject = subjects.delta(PROJECT, turn.response_id)
        listening = await self._client.subscribe(subject, cb=hear)
        try:
            await self._store(turn, json.dumps(body_of(turn, content, stream=stream)))
            if turn.accepted_at is not None:
                async with asyncio.timeout(wait_s):
                    await ended.wait()
        except TimeoutError:
            turn.lost = "no end was told"
        finally:
            if not self._client.is_closed:
                await listening.unsubscribe()

    async def _store(self, turn: Turn, body: str) -> None:
        request = (
            f'{{"response_id":"{turn.response_id}","conversation_id":"{turn.conversation_id}",'
            f'"overlap":"{turn.overlap}","body":{body}}}'
        )
        subject = subjects.turn_request(PROJECT, str(turn.conversation_id))
        for _ in range(6):
            turn.published += 1
            try:
                ack = await self._client.jetstream().publish(
                    subject,
                    request.encode(),
                    timeout=PUBLISH_WAIT_S,
                    headers={MESSAGE_ID: str(turn.response_id)},
                )
            except nats.errors.Error as error:
                turn.lost = type(error).__name__
                await asyncio.sleep(0.5)
                continue
            turn.accepted_at, turn.place, turn.lost = time.monotonic(), ack.seq, None
            return


def read_delta(turn: Turn, message: Msg) -> None:
    """Note what a message of a turn's delta subject tells."""
    headers = message.headers or {}
    match headers.get(deltas.KIND_HEADER):
        case deltas.END:
            _end(turn, json.loads(stream_events.response_in(message.data)))
        case deltas.REFUSAL:
            told = json.loads(message.data)["error"]
            status = int(headers[deltas.STATUS_HEADER])
            turn.refusal = Refusal(status, told["code"], told["message"])
        case _:
            pass


async def write(write: Write, work: Callable[[], Awaitable[Any]]) -> Any:
    """What ``work`` returns, if it was acked; the write is noted either way."""
    try:
        value = await work()
    except openai.APIStatusError as error:
        write.refusal = _refusal(error)
    except FAULTS:
        pass
    else:
        write.acked_at = time.monotonic()
        return value
    finally:
        write.over_at = time.monotonic()
    return None


async def _noted(turn: Turn, ask: Callable[[], Awaitable[None]]) -> None:
    try:
        await ask()
    except openai.APIStatusError as error:
        turn.refusal = _refusal(error)
    except FAULTS as error:
        turn.lost = type(error).__name__
    turn.ended_at = turn.ended_at or time.monotonic()


def _refusal(error: openai.APIStatusError) -> Refusal:
    return Refusal(error.status_code, error.code, error.message)


def _hear(turn: Turn, event: dict[str, Any]) -> None:
    turn.heard.append(event)
    if turn.accepted_at is None:
        turn.accepted_at, turn.response_id = time.monotonic(), event["response"]["id"]
    if event["type"] in TERMINAL:
        _end(turn, event["response"])


def _end(turn: Turn, response: dict[str, Any]) -> None:
    turn.response_id, turn.ended = response["id"], response
    turn.ended_at = time.monotonic()
    turn.accepted_at = turn.accepted_at or turn.ended_at
