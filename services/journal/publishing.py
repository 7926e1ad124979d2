"""Messages into a stream, once each: what became of one is asked until it is known.

A message id makes the repeats harmless. Without an answer nobody knows whether a message is stored:
its leader may have died before it was told to the others, or after.
"""

from collections.abc import Mapping

import msgspec
from nats.aio.client import Client

from schemas.http.errors import TooLarge
from services.journal import JournalUnavailable
from services.journal.patience import patiently

MESSAGE_ID = "Nats-Msg-Id"

NOT_STORED = 10077
"""JSStreamStoreFailedF of nats-server: the stream is full, or its disk is."""
_IN_FLIGHT = frozenset({10158, 10164})
"""JSStreamDuplicateMessageConflict and JSStreamWrongLastSequenceConstantErr of nats-server: a
message with this id, or another one on this subject, is on its way to the replicas."""
_UNAVAILABLE = 503


class Failure(msgspec.Struct):
    """Why the server did not do what it was asked to."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(msgspec.Struct):
    """The server's last word on a message."""

    seq: int = 0
    duplicate: bool = False
    error: Failure | None = None


_decode = msgspec.json.Decoder(Ack).decode


async def publish(
    client: Client, subject: str, payload: bytes, headers: Mapping[str, str], *, wait_s: float
) -> Ack:
    """Send a message whose ``headers`` hold its `MESSAGE_ID` until its outcome is known.

    Raises `JournalUnavailable` when it is not known after ``wait_s`` seconds, and `TooLarge` for
    more than the server takes in one message.
    """
    sent = dict(headers)

    async def once(attempt_s: float) -> Ack:
        message = await client.request(subject, payload, timeout=attempt_s, headers=sent)
        ack = _decode(message.data)
        if ack.error is not None and _passes(ack.error):
            raise JournalUnavailable(ack.error.description)
        return ack

    if len(payload) + _size(sent) > client.max_payload:
        raise TooLarge("This does not fit into the log.", code="request_too_large")
    return await patiently(once, wait_s=wait_s)


def _size(headers: Mapping[str, str]) -> int:
    """Bytes of a header block (NATS ADR-4): the limit of the server holds for all of a message."""
    lines = sum(len(name) + len(value) + len(": \r\n") for name, value in headers.items())
    return len("NATS/1.0\r\n\r\n") + lines


def _passes(failure: Failure) -> bool:
    if failure.err_code in _IN_FLIGHT:
        return True
    return failure.code == _UNAVAILABLE and failure.err_code != NOT_STORED
