"""Asks for turns on the queue and listens to what becomes of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import deltas, subjects, turn_requests
from schemas.http.errors import Overloaded
from schemas.turn_requests import TurnRequest
from services.journal import JournalUnavailable
from services.journal.jetstream import MESSAGE_ID

_NO_RESPONDER = "503"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a running turn said since it was last listened to.

    ``payload``: frames for the wire. ``end``: the last of them is terminal, stored at
    ``sequence``. ``refusal``: the HTTP status of an error body, which then is the payload.
    """

    payload: bytes
    end: bool = False
    sequence: int = 0
    refusal: int | None = None
    retry_after_s: int | None = None


class Listener:
    """Hears one turn; what came together is told together."""

    def __init__(self) -> None:
        self._heard: list[Msg] = []
        self._something = asyncio.Event()

    async def hear(self, message: Msg) -> None:
        """Take a message of the turn's subject."""
        self._heard.append(message)
        self._something.set()

    async def told(self, *, wait_s: float) -> Told | None:
        """What has been said since; ``None`` after ``wait_s`` seconds of silence."""
        try:
            async with asyncio.timeout(wait_s):
                await self._something.wait()
        except TimeoutError:
            return None
        self._something.clear()
        heard, self._heard = self._heard, []
        return _told(heard)


def _told(heard: list[Msg]) -> Told:
    payloads: list[bytes] = []
    for message in heard:
        headers = message.headers or {}
        if headers.get("Status") == _NO_RESPONDER:
            raise Overloaded("No responder is running. Please retry.")
        match headers.get(deltas.KIND_HEADER):
            case deltas.EVENTS:
                payloads.append(message.data)
            case deltas.END:
                payloads.append(message.data)
                sequence = int(headers.get(deltas.SEQUENCE_HEADER, "0"))
                # An end told twice, by two deliveries of the request, is still one end.
                return Told(payload=b"".join(payloads), end=True, sequence=sequence)
            case deltas.REFUSAL:
                after = headers.get(deltas.RETRY_AFTER_HEADER)
                return Told(
                    payload=message.data,
                    refusal=int(headers[deltas.STATUS_HEADER]),
                    retry_after_s=int(after) if after else None,
                )
            case _:
                continue
    return Told(payload=b"".join(payloads))


class Turns:
    """The gateway's side of the queue."""

    def __init__(self, client: Client, *, wait_s: float = 5.0) -> None:
        """``wait_s`` bounds the wait for a turn request to be stored."""
        self._client = client
        self._jetstream = client.jetstream()
        self._wait_s = wait_s

    @asynccontextmanager
    async def ask(
        self, project: str, request: TurnRequest, *, stored: bool
    ) -> AsyncIterator[Listener]:
        """Listen to a turn and put its request on the queue, in this order.

        When this returns the request is stored, and will be answered whatever dies; one that is
        not ``stored`` lives in memory alone.
        """
        listener = Listener()
        named = subjects.delta if stored else subjects.delta_unstored
        subject = named(project, request.response_id)
        subscription = await self._client.subscribe(subject, cb=listener.hear)
        try:
            if stored:
                await self._store(project, request)
            else:
                await self._client.publish(
                    subjects.turn_request_unstored(project),
                    turn_requests.encode(request),
                    reply=subject,
                )
            yield listener
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def _store(self, project: str, request: TurnRequest) -> None:
        try:
            await self._jetstream.publish(
                subjects.turn_request(project, request.conversation_id),
                turn_requests.encode(request),
                timeout=self._wait_s,
                headers={MESSAGE_ID: request.response_id},
            )
        except nats.js.errors.ServiceUnavailableError as error:
            raise Overloaded("Too many turns are waiting. Please retry.") from error
        except nats.errors.Error as error:
            raise JournalUnavailable(str(error) or type(error).__name__) from error
