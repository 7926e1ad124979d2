"""What running turns have said, as the stream DELTAS keeps it for a while."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import deltas, subjects
from schemas.http import stream_events
from schemas.ids import conversation_of
from services import encryption, ids
from services.encryption import Key, is_sealed_message
from services.journal import JournalUnavailable
from services.journal.publishing import MESSAGE_ID, publish
from services.journal.reading import Reader, sequence_of
from services.journal.vault import KeyDestroyed, Vault

_TELLING = frozenset({deltas.EVENTS, deltas.END})
"""Kinds of messages that hold events."""


class Deltas:
    """Messages of `schemas.deltas`, by the response they are of."""

    def __init__(self, client: Client, vault: Vault | None = None, *, wait_s: float = 5.0) -> None:
        """``vault`` has the keys of what is encrypted.

        ``wait_s`` bounds the wait for each answer of the log.
        """
        self._client = client
        self._vault = vault
        self._reader = Reader(client, wait_s=wait_s)
        self._wait_s = wait_s

    async def told(self, project: str, response_id: str) -> int:
        """How many events of a response have been told, as far as is still known."""
        subject = subjects.delta(project, response_id)
        newest = await self._reader.last(subjects.DELTAS, subject)
        opened = await self._opened(project, response_id, [] if newest is None else [newest])
        return following(opened[0]) if opened else 0

    async def refused(self, project: str, response_id: str) -> bool:
        """Whether a turn was refused, as far as is still known."""
        subject = subjects.delta(project, response_id)
        newest = await self._reader.last(subjects.DELTAS, subject)
        return newest is not None and is_refusal(newest)

    async def attempted(self, project: str, response_id: str) -> int:
        """Note that a request was delivered again, and count the notes there are."""
        await self._note_attempt(project, response_id, {})
        kept = await self.read(project, response_id)
        return sum(_kind(message) == deltas.ATTEMPT for message in kept)

    async def fence(self, project: str, response_id: str, *, attempt: int) -> int:
        """Let nothing count that earlier attempts may still tell; how many events were told before.

        A process that was stopped for a while does not know that it was superseded.
        """
        headers = {deltas.ATTEMPT_HEADER: str(attempt)}
        await self._note_attempt(project, response_id, headers)
        fence = Fence()
        kept = await self.read(project, response_id)
        return joined(filter(fence.passes, kept), number=0).number

    async def read(self, project: str, response_id: str) -> list[Msg]:
        """Everything that is kept, oldest first."""
        subject = subjects.delta(project, response_id)
        found = await self._reader.read(subjects.DELTAS, subject, after=0)
        return await self._opened(project, response_id, found)

    async def _note_attempt(self, project: str, response_id: str, headers: dict[str, str]) -> None:
        subject = subjects.delta(project, response_id)
        told = {**headers, deltas.KIND_HEADER: deltas.ATTEMPT, MESSAGE_ID: ids.unique()}
        ack = await publish(self._client, subject, b"", told, wait_s=3 * self._wait_s)
        if ack.error is not None:
            raise JournalUnavailable(ack.error.description)

    async def read_slice(
        self, project: str, response_id: str, *, after: int, bytes_max: int
    ) -> tuple[list[Msg], int]:
        """What is kept behind sequence ``after``, ``bytes_max`` bytes of it or the next message.

        With the sequence of the last of them.
        """
        subject = subjects.delta(project, response_id)
        found = await self._reader.read_slice(
            subjects.DELTAS, subject, after=after, bytes_max=bytes_max
        )
        reached = sequence_of(found[-1]) if found else after
        return await self._opened(project, response_id, found), reached

    async def key(self, project: str, response_id: str) -> Key | None:
        """What opens the messages of a response, if they are encrypted."""
        conversation_id = conversation_of(response_id)
        if self._vault is None or conversation_id is None:
            return None
        with suppress(KeyDestroyed):
            return await self._vault.find(project, conversation_id)
        return None

    async def _opened(self, project: str, response_id: str, messages: list[Msg]) -> list[Msg]:
        """Messages with their content; nothing of a conversation whose key is destroyed."""
        if self._vault is None or not any(is_sealed_message(each.data) for each in messages):
            return messages
        key = await self.key(project, response_id)
        if key is None:
            return [each for each in messages if not is_sealed_message(each.data)]
        for each in messages:
            open_delta(each, key, project, response_id)
        return messages


def seal_delta(
    payload: bytes, headers: Mapping[str, str], key: Key, project: str, response_id: str
) -> bytes:
    """What a turn says, as it may be kept."""
    return encryption.seal_message(payload, key, *_place(headers, project, response_id))


def open_delta(message: Msg, key: Key, project: str, response_id: str) -> None:
    """Let a message have its content, if it is encrypted; raises `Altered`."""
    if is_sealed_message(message.data):
        place = _place(message.headers or {}, project, response_id)
        message.data = encryption.unseal_message(message.data, key, *place)


def _place(headers: Mapping[str, str], project: str, response_id: str) -> tuple[str, ...]:
    named = (deltas.KIND_HEADER, deltas.FIRST_HEADER, deltas.ATTEMPT_HEADER)
    return ("delta", project, response_id, *(headers.get(name, "") for name in named))


def first(message: Msg) -> int:
    """Number of the first event in a message."""
    return int((message.headers or {}).get(deltas.FIRST_HEADER, "0"))


def following(message: Msg) -> int:
    """Number of the event that follows a message; 0 after a refusal, which holds none."""
    if _kind(message) not in _TELLING:
        return 0
    return first(message) + stream_events.count(message.data)


class Fence:
    """Tells, of messages in their order, which are not of an attempt that was superseded before."""

    def __init__(self) -> None:
        self._attempt = 1

    def passes(self, message: Msg) -> bool:
        """Whether the next message counts."""
        kind = _kind(message)
        attempt = int((message.headers or {}).get(deltas.ATTEMPT_HEADER, "1"))
        if kind == deltas.ATTEMPT:
            self._attempt = max(self._attempt, attempt)
            return False
        # An end is in the log, whoever tells it.
        return kind != deltas.EVENTS or attempt >= self._attempt


def is_refusal(message: Msg) -> bool:
    """Whether a message says that there is no response."""
    return _kind(message) == deltas.REFUSAL


def _kind(message: Msg) -> str | None:
    return (message.headers or {}).get(deltas.KIND_HEADER)


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """What messages say from one event on, without what they say twice.

    ``number`` is that of the event that follows. ``end``: the last one is terminal, and the turn
    stored at ``sequence``. ``rest``: messages behind a gap, not joined.
    """

    payload: bytes
    number: int
    end: bool = False
    sequence: int = 0
    rest: tuple[Msg, ...] = ()


def joined(messages: Iterable[Msg], *, number: int, said: bool = False) -> Joined:
    """The events from ``number`` on; an end told twice, by two deliveries, is still one end.

    ``said``: whoever is told this was told what comes before as well. An end that was numbered by
    someone who knew of fewer events then comes behind them all the same.
    """
    payloads: list[bytes] = []
    waiting = tuple(messages)
    for index, message in enumerate(waiting):
        headers = message.headers or {}
        kind = headers.get(deltas.KIND_HEADER)
        if kind not in _TELLING:
            continue
        start = first(message)
        after = start + stream_events.count(message.data)
        if start > number:
            return Joined(payload=b"".join(payloads), number=number, rest=waiting[index:])
        if after > number:
            fresh = message.data
            if start < number:
                fresh = b"".join(stream_events.frames(message.data)[number - start :])
            payloads.append(fresh)
            number = after
        elif kind == deltas.END and (said or payloads):
            payloads.append(_renumbered(message.data, number))
            number += 1
        if kind == deltas.END:
            sequence = int(headers.get(deltas.SEQUENCE_HEADER, "0"))
            return Joined(payload=b"".join(payloads), number=number, end=True, sequence=sequence)
    return Joined(payload=b"".join(payloads), number=number)


def ending(messages: Iterable[Msg], *, number: int) -> Joined | None:
    """The end among ``messages`` as event ``number``, whatever was to come before; none if none."""
    for message in messages:
        if _kind(message) == deltas.END:
            sequence = int((message.headers or {}).get(deltas.SEQUENCE_HEADER, "0"))
            payload = _renumbered(message.data, number)
            return Joined(payload=payload, number=number + 1, end=True, sequence=sequence)
    return None


def _renumbered(payload: bytes, number: int) -> bytes:
    terminal = stream_events.frames(payload)[-1]
    name = terminal.partition(b"\n")[0].removeprefix(b"event: ").decode()
    return stream_events.lifecycle(name, stream_events.response_in(terminal), number)
