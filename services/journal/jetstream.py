"""The log on NATS JetStream: appends with an expected sequence, direct reads of one subject.

Outcomes of an append are told apart by error code, never by text. A single node checks the
expected sequence before it looks for duplicates, so that a repeated append of what is already
stored reads as a conflict: whoever finds his own id on the last message has succeeded.
"""

import contextlib
from collections.abc import Mapping

import msgspec
import nats.errors
import nats.js.errors
import stamina
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects
from services.journal import Conflict, JournalUnavailable, Repeated, Stored

MESSAGE_ID = "Nats-Msg-Id"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
"""JSStreamWrongLastSequenceErrF, and JSStreamWrongLastSequenceConstantErr, which a replicated
stream answers while another proposal is in flight."""

_READ_BATCH = 512
"""Messages asked for at once; the server ends a batch earlier when it fills its own buffers."""
_READ_BYTES = 16 * 1024 * 1024
"""Bytes asked for at once: the server gives up a connection that is 64 MiB behind."""
_UNAVAILABLE = 503
_END_OF_BATCH = "204"
_NOT_FOUND = ("404", "408")


class _Failure(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _Failure | None = None


class _Range(msgspec.Struct):
    seq: int
    next_by_subj: str
    batch: int
    max_bytes: int


_decode_ack = msgspec.json.Decoder(_PubAck).decode
_TRANSIENT = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionReconnectingError,
    JournalUnavailable,
)


class JetStreamJournal:
    """Commits on stream CONVERSATIONS; one literal subject per conversation."""

    def __init__(self, client: Client, *, wait_s: float = 5.0) -> None:
        """``wait_s`` bounds each request, and three times that an append with its repeats."""
        self._client = client
        self._wait_s = wait_s

    async def append(
        self,
        project: str,
        conversation_id: str,
        payload: bytes,
        *,
        message_id: str,
        expected: int,
        headers: Mapping[str, str],
    ) -> int:
        """As the protocol says."""
        subject = subjects.conversation(project, conversation_id)
        sent = {**headers, MESSAGE_ID: message_id, EXPECTED: str(expected)}
        ack = await self._publish(subject, payload, sent)
        if ack.error is None and not ack.duplicate:
            return ack.seq
        if ack.error is None or ack.error.err_code in WRONG_LAST_SEQUENCE:
            newest = await self.last(project, conversation_id)
            if newest and (newest.message_id, newest.payload) == (message_id, payload):
                return newest.sequence
            raise Repeated if ack.duplicate else Conflict
        raise JournalUnavailable(f"append refused: {ack.error.err_code} {ack.error.description}")

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> _PubAck:
        try:
            with contextlib.suppress(*_TRANSIENT):
                return await self._publish_once(subject, payload, headers)
            # The id makes a repeat harmless, so an unknown outcome is simply asked again.
            async for attempt in stamina.retry_context(
                on=_TRANSIENT, attempts=None, timeout=3 * self._wait_s, wait_initial=0.05
            ):
                with attempt:
                    return await self._publish_once(subject, payload, headers)
        except (*_TRANSIENT, nats.errors.Error) as error:
            raise JournalUnavailable(str(error) or type(error).__name__) from error
        raise AssertionError("a retry context either returns or raises")

    async def _publish_once(self, subject: str, payload: bytes, headers: dict[str, str]) -> _PubAck:
        message = await self._client.request(
            subject, payload, timeout=self._wait_s, headers=headers
        )
        ack = _decode_ack(message.data)
        if ack.error is not None and ack.error.code == _UNAVAILABLE:
            raise JournalUnavailable(ack.error.description)
        return ack

    async def last(self, project: str, conversation_id: str) -> Stored | None:
        """As the protocol says."""
        subject = subjects.conversation(project, conversation_id)
        message = await last_of(self._client, subjects.CONVERSATIONS, subject, wait_s=self._wait_s)
        return None if message is None else _stored(message)

    async def read(self, project: str, conversation_id: str, *, after: int) -> list[Stored]:
        """As the protocol says."""
        subject = subjects.conversation(project, conversation_id)
        messages = await read_subject(
            self._client, subjects.CONVERSATIONS, subject, after=after, wait_s=self._wait_s
        )
        return [_stored(message) for message in messages]


async def last_of(client: Client, stream: str, subject: str, *, wait_s: float) -> Msg | None:
    """The newest message of one literal subject; raises `JournalUnavailable`."""
    try:
        message = await client.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout=wait_s)
    except nats.errors.Error as error:
        raise JournalUnavailable(str(error) or type(error).__name__) from error
    return None if _status(message) in _NOT_FOUND else message


async def read_subject(
    client: Client, stream: str, subject: str, *, after: int, wait_s: float
) -> list[Msg]:
    """All messages of one literal subject with a sequence above ``after``, oldest first.

    ``wait_s`` bounds the wait for each message. Raises `JournalUnavailable`.
    """
    found: list[Msg] = []
    inbox = client.new_inbox()
    try:
        subscription = await client.subscribe(inbox)
        try:
            while True:
                start = (_sequence(found[-1]) if found else after) + 1
                request = msgspec.json.encode(_Range(start, subject, _READ_BATCH, _READ_BYTES))
                await client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
                message = await subscription.next_msg(timeout=wait_s)
                while not (status := _status(message)):
                    found.append(message)
                    message = await subscription.next_msg(timeout=wait_s)
                if status in _NOT_FOUND:
                    return found
                if status != _END_OF_BATCH:
                    raise JournalUnavailable(f"direct get answered {status}")
                if (message.headers or {}).get("Nats-Num-Pending") == "0":
                    return found
        finally:
            await subscription.unsubscribe()
    except nats.errors.Error as error:
        raise JournalUnavailable(str(error) or type(error).__name__) from error


def _status(message: Msg) -> str:
    return (message.headers or {}).get("Status", "")


def _sequence(message: Msg) -> int:
    return int((message.headers or {})["Nats-Sequence"])


def _stored(message: Msg) -> Stored:
    headers = message.headers or {}
    return Stored(
        sequence=_sequence(message),
        previous=int(headers.get(EXPECTED, "0")),
        message_id=headers.get(MESSAGE_ID, ""),
        payload=message.data,
    )
