"""Asks for turns on the queue, listens to what becomes of them, and ends them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client

from schemas import subjects, turn_requests
from schemas.http.errors import TooLarge, TooMany
from schemas.turn_requests import TurnRequest
from services import faults
from services.conversation.refusals import (
    ConversationUnknown,
    PreviousResponseUnknown,
    Refused,
)
from services.gateway.listener import Ended, Kept, Listener
from services.gateway.settings import GatewaySettings
from services.journal import JournalUnavailable
from services.journal.conversations import Conversations
from services.journal.deltas import Deltas
from services.journal.publishing import MESSAGE_ID, NOT_STORED, publish
from services.journal.turn_requests import TurnRequests
from services.journal.vault import KeyDestroyed, Vault

RUNNING_WAIT_S, RUNNING_QUESTIONS = 1.0, 5
"""Seconds in which a responder says that it runs a turn that has fallen silent, and how often it is
asked: a busy one may be late, and what nobody stored is lost once it is given up."""
CANCEL_WAIT_S = 1.0
"""Seconds in which a responder says that it runs the turn to be cancelled."""

log = structlog.get_logger()


class _Follows(msgspec.Struct):
    previous_response_id: str | None = None


def _of_erased(request: TurnRequest) -> Refused:
    """Why a request cannot be taken whose conversation was erased."""
    parent = msgspec.json.decode(request.body, type=_Follows).previous_response_id
    if parent is not None:
        return PreviousResponseUnknown(parent)
    return ConversationUnknown(request.conversation_id)


class Turns:
    """The gateway's side of the queue."""

    def __init__(
        self,
        client: Client,
        vault: Vault | None,
        conversations: Conversations,
        settings: GatewaySettings,
        *,
        wait_s: float = 5.0,
    ) -> None:
        """``wait_s`` bounds each wait of the log, thrice that the storing of a turn request.

        ``vault`` has the keys of what is encrypted.
        """
        self._client = client
        self._requests = TurnRequests(client, vault)
        self._kept = Kept(Deltas(client, vault), conversations)
        self._in_flight_max = settings.turns_in_flight_max
        self._unread_bytes_max = settings.unread_bytes_max
        self._wait_s = wait_s
        self._in_flight: dict[str, int] = {}
        self._listeners: set[Listener] = set()
        self._stopping = False

    def stop(self) -> None:
        """Let every turn that is heard here be heard elsewhere."""
        self._stopping = True
        for listener in self._listeners:
            listener.stop()

    @asynccontextmanager
    async def ask(
        self, project: str, request: TurnRequest, *, stored: bool
    ) -> AsyncIterator[Listener]:
        """Listen to a turn and put its request on the queue, in this order.

        When this returns the request is stored, and will be answered whatever dies; one that is
        not ``stored`` lives in memory alone. Raises `TooMany` before anything is stored.
        """
        payload = await self._encoded(project, request) if stored else b""
        named = subjects.delta if stored else subjects.delta_unstored
        subject = named(project, request.response_id)
        listener = Listener(
            project,
            request.response_id,
            self._kept if stored else None,
            number=0,
            bytes_max=self._unread_bytes_max,
            runs=None if stored else partial(self._runs, project, request.response_id),
            key=await self._kept.deltas.key(project, request.response_id) if stored else None,
        )
        with self._flight(project):
            async with self._listening(listener, subject):
                if stored:
                    if await self._store(project, request, payload):
                        # It may have been answered before we listened.
                        listener.catch_up()
                else:
                    await self._pass_on(project, request, reply=subject)
                # It may be large, and the turn may be long.
                del request
                yield listener

    @asynccontextmanager
    async def follow(
        self, project: str, response_id: str, *, number: int, ended: Ended | None = None
    ) -> AsyncIterator[Listener]:
        """Listen to a turn that was asked for before, from event ``number`` on."""
        listener = Listener(
            project,
            response_id,
            self._kept,
            number=number,
            bytes_max=self._unread_bytes_max,
            ended=ended,
            key=await self._kept.deltas.key(project, response_id),
        )
        async with self._listening(listener, subjects.delta(project, response_id)):
            listener.catch_up()
            yield listener

    async def refused(self, project: str, response_id: str) -> bool:
        """Whether a turn was refused, as far as is still known."""
        return await self._kept.deltas.refused(project, response_id)

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
        for _ in range(RUNNING_QUESTIONS):
            try:
                await self._client.request(
                    subjects.running(project, response_id), timeout=RUNNING_WAIT_S
                )
            except nats.errors.NoRespondersError:
                return False
            except nats.errors.Error:
                # Without a connection nothing can be told of anybody.
                if not self._client.is_connected:
                    return True
            else:
                return True
        return False

    @contextmanager
    def _flight(self, project: str) -> Iterator[None]:
        """Count one turn more of a project, for as long as somebody here waits for its end."""
        count = self._in_flight.get(project, 0)
        if count >= self._in_flight_max:
            raise TooMany(f"{count} turns are being answered. Please retry when some have ended.")
        self._in_flight[project] = count + 1
        try:
            yield
        finally:
            self._in_flight[project] -= 1
            if not self._in_flight[project]:
                del self._in_flight[project]

    @asynccontextmanager
    async def _listening(self, listener: Listener, subject: str) -> AsyncIterator[Listener]:
        subscription = await self._client.subscribe(subject, cb=listener.hear)
        self._listeners.add(listener)
        if self._stopping:
            listener.stop()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
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

    async def _encoded(self, project: str, request: TurnRequest) -> bytes:
        try:
            return await self._requests.encoded(project, request)
        except KeyDestroyed:
            raise _of_erased(request) from None

    async def _store(self, project: str, request: TurnRequest, payload: bytes) -> bool:
        """Put a request on the queue; whether it was there already."""
        stored = await publish(
            self._client,
            subjects.turn_request(project, request.conversation_id),
            payload,
            {MESSAGE_ID: request.response_id},
            wait_s=3 * self._wait_s,
        )
        if stored.error is None:
            faults.point("accepted")
            return stored.duplicate
        if stored.error.err_code == NOT_STORED:
            log.info("queue.full", reason=stored.error.description)
            raise TooMany("Too many turns are waiting. Please retry.")
        raise JournalUnavailable(f"{stored.error.err_code} {stored.error.description}")
