"""Asks for turns on the queue, listens to what becomes of them, and ends them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import deltas, subjects, turn_requests
from schemas import ids as id_forms
from schemas.http.errors import Overloaded, TooLarge
from schemas.turn_requests import TurnRequest
from services import faults
from services.conversation.retelling import retold, terminal
from services.journal import JournalUnavailable
from services.journal.conversations import Conversations
from services.journal.deltas import Deltas, first, is_refusal, joined
from services.journal.publishing import MESSAGE_ID, NOT_STORED, publish

_NO_RESPONDER = "503"
RUNNING_WAIT_S = 1.0
"""Seconds in which a responder says that it runs a turn that has fallen silent."""
CANCEL_WAIT_S = 1.0
"""Seconds in which a responder says that it runs the turn to be cancelled."""

log = structlog.get_logger()


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


class Kept(msgspec.Struct, frozen=True):
    """Where what a stored turn has said, and how it has ended, can be read again."""

    deltas: Deltas
    conversations: Conversations


class Listener:
    """Hears one turn; what came together is told together, and what was lost is read again.

    ``number`` is that of the next event to tell. ``context`` is what a turn that follows this one
    is to be sent of it, as bytes, where that was asked for: it is there before the end is told.
    """

    def __init__(
        self,
        project: str,
        response_id: str,
        kept: Kept | None,
        *,
        number: int,
        runs: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """``kept`` is there for turns that are stored; for others, ``runs`` says if they go on."""
        self._project = project
        self._response_id = response_id
        self._kept = kept
        self._runs = runs
        self._heard: list[Msg] = []
        self._something = asyncio.Event()
        self._said = False
        self.number = number
        self.context: bytes | None = None

    async def hear(self, message: Msg) -> None:
        """Take a message of the turn's subject."""
        self._heard.append(message)
        self._something.set()

    async def catch_up(self) -> None:
        """Hear again all that was said before."""
        if self._kept is not None:
            self._heard[:0] = await self._kept.deltas.read(self._project, self._response_id)
            self._something.set()

    async def quiet(self, *, wait_s: float) -> bool:
        """Whether nothing is heard for ``wait_s`` seconds; what is heard stays to be told."""
        try:
            async with asyncio.timeout(wait_s):
                await self._something.wait()
        except TimeoutError:
            return True
        return False

    async def told(self, *, wait_s: float) -> Told | None:
        """What has been said since; ``None`` after ``wait_s`` seconds of silence.

        A turn that ended in silence, since whoever ran it died before telling, has ended.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._something.wait()
        except TimeoutError:
            # If the log cannot tell now, it is asked again after the next silence.
            with suppress(JournalUnavailable):
                return await self._after_silence()
            return None
        self._something.clear()
        heard, self._heard = self._heard, []
        for message in heard:
            headers = message.headers or {}
            if headers.get("Status") == _NO_RESPONDER:
                raise Overloaded("No responder is running. Please retry.")
            match headers.get(deltas.KIND_HEADER):
                case deltas.REFUSAL:
                    return _refusal(message)
                case deltas.CONTEXT:
                    self.context = message.data
                case _:
                    pass
        return await self._joined(heard)

    async def _after_silence(self) -> Told | None:
        conversation_id = id_forms.conversation_of(self._response_id)
        if self._kept is None or conversation_id is None:
            if self._runs is not None and not await self._runs():
                raise Overloaded("The turn was lost with the process that ran it. Please retry.")
            return None
        loaded = await self._kept.conversations.load(self._project, conversation_id)
        turn = loaded.state.turns.get(self._response_id)
        if turn is None and loaded.state.turn_running(self._response_id) is not None:
            return None
        kept = await self._kept.deltas.read(self._project, self._response_id)
        if turn is None:
            # Refused, perhaps, while the connection was away.
            return next((_refusal(message) for message in kept if is_refusal(message)), None)
        told = joined(kept, number=self.number, said=self._said)
        payload, self.number = told.payload, told.number
        if not told.end and turn.streamed and not told.number:
            payload = b"".join(retold(turn, conversation_id=conversation_id))
        elif not told.end:
            payload += terminal(turn, conversation_id=conversation_id, number=told.number)
        return Told(payload=payload, end=True, sequence=loaded.sequence)

    async def _joined(self, heard: list[Msg]) -> Told:
        told = joined(heard, number=self.number, said=self._said)
        if told.rest and self._kept is not None:
            # The connection was away for a while, or we came late.
            kept = await self._kept.deltas.read(self._project, self._response_id)
            told = joined([*kept, *heard], number=self.number, said=self._said)
        payload = told.payload
        if told.rest:
            log.warning("deltas.lost", response_id=self._response_id, number=told.number)
            told = joined(told.rest, number=first(told.rest[0]), said=self._said or bool(payload))
            payload += told.payload
        self.number = told.number
        self._said = self._said or bool(payload)
        return Told(payload=payload, end=told.end, sequence=told.sequence)


def _refusal(message: Msg) -> Told:
    headers = message.headers or {}
    after = headers.get(deltas.RETRY_AFTER_HEADER)
    return Told(
        payload=message.data,
        refusal=int(headers[deltas.STATUS_HEADER]),
        retry_after_s=int(after) if after else None,
    )


class Turns:
    """The gateway's side of the queue."""

    def __init__(
        self, client: Client, conversations: Conversations, *, wait_s: float = 5.0
    ) -> None:
        """``wait_s`` bounds each wait of the log, thrice that the storing of a turn request."""
        self._client = client
        self._kept = Kept(Deltas(client), conversations)
        self._wait_s = wait_s

    @asynccontextmanager
    async def ask(
        self, project: str, request: TurnRequest, *, stored: bool
    ) -> AsyncIterator[Listener]:
        """Listen to a turn and put its request on the queue, in this order.

        When this returns the request is stored, and will be answered whatever dies; one that is
        not ``stored`` lives in memory alone.
        """
        named = subjects.delta if stored else subjects.delta_unstored
        subject = named(project, request.response_id)
        listener = Listener(
            project,
            request.response_id,
            self._kept if stored else None,
            number=0,
            runs=None if stored else partial(self._runs, project, request.response_id),
        )
        async with self._listening(listener, subject):
            if stored:
                if await self._store(project, request):
                    # It may have been answered before we listened.
                    await listener.catch_up()
            else:
                await self._pass_on(project, request, reply=subject)
            yield listener

    @asynccontextmanager
    async def follow(
        self, project: str, response_id: str, *, number: int
    ) -> AsyncIterator[Listener]:
        """Listen to a turn that was asked for before, from event ``number`` on."""
        listener = Listener(project, response_id, self._kept, number=number)
        async with self._listening(listener, subjects.delta(project, response_id)):
            await listener.catch_up()
            yield listener

    async def cancel(self, project: str, response_id: str, *, wait_s: float) -> None:
        """Have whoever runs a turn end it, and wait until that is told.

        Returns without that when nobody says that it runs there.
        """
        subject = subjects.cancel(project, response_id)
        async with self.follow(project, response_id, number=0) as listener:
            try:
                await self._client.request(subject, timeout=CANCEL_WAIT_S)
            except nats.errors.Error as error:
                log.info("cancel.unheard", response_id=response_id, error=type(error).__name__)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while (told := await listener.told(wait_s=wait_s)) and not told.end:
                        continue

    async def cancel_waiting(self, project: str, response_id: str) -> None:
        """Have a turn ended that waits on the queue; raises `JournalUnavailable` if none can."""
        subject = subjects.cancel_waiting(project, response_id)
        try:
            await self._client.request(subject, timeout=self._wait_s)
        except nats.errors.Error as error:
            raise JournalUnavailable(str(error) or type(error).__name__) from error

    async def _runs(self, project: str, response_id: str) -> bool:
        """Whether a process says that it runs a turn of which nothing is stored."""
        try:
            await self._client.request(
                subjects.running(project, response_id), timeout=RUNNING_WAIT_S
            )
        except nats.errors.Error:
            # Without a connection nothing can be told of anybody.
            return not self._client.is_connected
        return True

    @asynccontextmanager
    async def _listening(self, listener: Listener, subject: str) -> AsyncIterator[Listener]:
        subscription = await self._client.subscribe(subject, cb=listener.hear)
        try:
            yield listener
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def _pass_on(self, project: str, request: TurnRequest, *, reply: str) -> None:
        subject = subjects.turn_request_unstored(project)
        try:
            await self._client.publish(subject, turn_requests.encode(request), reply=reply)
        except nats.errors.MaxPayloadError as error:
            raise TooLarge(
                "The input is too large together with the history it follows.",
                code="request_too_large",
            ) from error

    async def _store(self, project: str, request: TurnRequest) -> bool:
        """Put a request on the queue; whether it was there already."""
        stored = await publish(
            self._client,
            subjects.turn_request(project, request.conversation_id),
            turn_requests.encode(request),
            {MESSAGE_ID: request.response_id},
            wait_s=3 * self._wait_s,
        )
        if stored.error is None:
            faults.point("accepted")
            return stored.duplicate
        if stored.error.err_code == NOT_STORED:
            raise Overloaded("Too many turns are waiting. Please retry.")
        raise JournalUnavailable(f"{stored.error.err_code} {stored.error.description}")
