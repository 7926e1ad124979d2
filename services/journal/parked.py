"""Messages that failed for good, on the stream PARKED: put there, looked at, taken away."""

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import RawStreamMsg

from schemas import subjects
from services import ids
from services.journal import JournalUnavailable
from services.journal.publishing import MESSAGE_ID, publish


class ParkedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One of them: its sequence on PARKED, since when, why, and what it was."""

    sequence: int
    at: datetime
    stream: str
    reason: str
    subject: str
    payload: bytes


class Parked:
    """The stream PARKED; every method raises `JournalUnavailable`."""

    def __init__(self, client: Client, *, wait_s: float = 5.0) -> None:
        """``wait_s`` bounds each request, and three times that the storing of a message."""
        self._client = client
        self._wait_s = wait_s
        self._jetstream = client.jetstream(timeout=wait_s)

    async def put(
        self, stream: str, reason: str, *, subject: str, payload: bytes, message_id: str = ""
    ) -> None:
        """Park a message of ``stream`` that was on ``subject``; stored when this returns.

        Parked twice within minutes under one ``message_id``, it is parked once.
        """
        headers = {subjects.PARKED_FROM_HEADER: subject, MESSAGE_ID: message_id or ids.unique()}
        where = subjects.parked(stream, reason)
        ack = await publish(self._client, where, payload, headers, wait_s=3 * self._wait_s)
        if ack.error is not None:
            raise JournalUnavailable(ack.error.description)

    async def all(self) -> AsyncIterator[ParkedMessage]:
        """All that is parked, oldest first."""
        sequence = 0
        while (found := await self._get(sequence + 1, following=True)) is not None:
            yield found
            sequence = found.sequence

    async def get(self, sequence: int) -> ParkedMessage | None:
        """The one at ``sequence``."""
        return await self._get(sequence)

    async def remove(self, sequence: int) -> bool:
        """Take one away; false if it was not there."""
        try:
            return await self._jetstream.delete_msg(subjects.PARKED, sequence)
        except (nats.js.errors.APIError, nats.errors.Error) as error:
            if await self._get(sequence) is None:
                return False
            raise JournalUnavailable(str(error) or type(error).__name__) from error

    async def _get(self, sequence: int, *, following: bool = False) -> ParkedMessage | None:
        try:
            found = await self._jetstream.get_msg(
                subjects.PARKED,
                seq=sequence,
                subject=subjects.ALL_PARKED if following else None,
                next=following,
            )
        except nats.js.errors.NotFoundError:
            return None
        except nats.errors.Error as error:
            raise JournalUnavailable(str(error) or type(error).__name__) from error
        return _read(found)


def _read(found: RawStreamMsg) -> ParkedMessage:
    stream, reason = subjects.parked_parts(found.subject or "")
    assert found.seq is not None
    assert found.time is not None
    return ParkedMessage(
        sequence=found.seq,
        at=found.time,
        stream=stream,
        reason=reason,
        subject=(found.headers or {}).get(subjects.PARKED_FROM_HEADER, ""),
        payload=found.data or b"",
    )
