"""Reads of literal subjects that see every message acknowledged before they began.

A stream on one server is read directly, which is fast. Direct reads of a replicated one are
answered by any replica, and some are behind. There the leader is asked for the newest message, and
for those that a direct read has not come as far as.
"""

import msgspec
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.journal import JournalUnavailable
from services.journal.patience import LED_ATTEMPT_S, patiently
from services.journal.publishing import Failure

SEQUENCE = "Nats-Sequence"
_SUBJECT = "Nats-Subject"
"""Header of a message that was read directly, which arrives on its reader's subject."""

_READ_BATCH = 512
"""Messages asked for at once; the server ends a batch earlier when it fills its own buffers."""
_READ_BYTES = 16 * 1024 * 1024
"""Bytes asked for at once: the server gives up a connection that is 64 MiB behind."""
_END_OF_BATCH = "204"
_NOT_FOUND = ("404", "408")
NO_MESSAGE = 10037
"""JSNoMessageFoundErr of nats-server."""
_NO_STREAM = 10059
"""JSStreamNotFoundErr of nats-server: nothing to wait for."""


class _Range(msgspec.Struct):
    seq: int
    next_by_subj: str
    batch: int
    max_bytes: int


class _NewestOf(msgspec.Struct):
    last_by_subj: str


class _NextOf(msgspec.Struct):
    seq: int
    next_by_subj: str


class _Held(msgspec.Struct):
    """A message as the leader tells it; bytes are Base64 in JSON."""

    subject: str
    seq: int
    hdrs: bytes = b""
    data: bytes = b""


class _Told(msgspec.Struct):
    message: _Held | None = None
    error: Failure | None = None


class _Config(msgspec.Struct):
    num_replicas: int = 1


class _Info(msgspec.Struct):
    config: _Config | None = None
    error: Failure | None = None


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_info = msgspec.json.Decoder(_Info).decode


class Reader:
    """Reads one connection's streams; messages carry their sequence in the header `SEQUENCE`."""

    def __init__(self, client: Client, *, wait_s: float = 5.0) -> None:
        """``wait_s`` bounds the wait for each answer, and twice that a read with its repeats."""
        self._client = client
        self._wait_s = wait_s
        self._replicated: dict[str, bool] = {}
        self._reconnects = 0

    def is_alone(self, stream: str) -> bool:
        """Whether a stream is known to be kept by one server."""
        return self._known(stream) is False

    async def learn(self, stream: str) -> None:
        """Find out who keeps a stream; raises `JournalUnavailable`."""
        await self._is_replicated(stream)

    async def last(self, stream: str, subject: str) -> Msg | None:
        """The newest message of a subject; raises `JournalUnavailable`."""
        if await self._is_replicated(stream):
            return await self.last_led(stream, subject)

        async def once(attempt_s: float) -> Msg | None:
            where = f"$JS.API.DIRECT.GET.{stream}.{subject}"
            message = await self._client.request(where, timeout=attempt_s)
            return None if _status(message) in _NOT_FOUND else message

        return await patiently(once, wait_s=2 * self._wait_s)

    async def last_led(self, stream: str, subject: str) -> Msg | None:
        """As `last`, of a stream that may not allow direct reads."""
        return await self._led(stream, _NewestOf(subject))

    async def read(self, stream: str, subject: str, *, after: int) -> list[Msg]:
        """All messages of a subject with a sequence above ``after``, oldest first.

        Raises `JournalUnavailable`.
        """
        if not await self._is_replicated(stream):
            return await self._directly(stream, subject, after=after)
        newest = await self.last_led(stream, subject)
        if newest is None or sequence_of(newest) <= after:
            return []
        found = await self._directly(stream, subject, after=after)
        while (reached := sequence_of(found[-1]) if found else after) < sequence_of(newest):
            behind = await self._led(stream, _NextOf(reached + 1, subject))
            if behind is None:
                # What was the newest is kept no longer.
                break
            found.append(behind)
        return found

    async def read_slice(
        self, stream: str, subject: str, *, after: int, bytes_max: int
    ) -> list[Msg]:
        """As `read`, but ``bytes_max`` bytes at most, or the first message if that has more."""
        replicated = await self._is_replicated(stream)

        async def once(attempt_s: float) -> list[Msg]:
            found: list[Msg] = []
            await self._read_batch(
                stream, subject, found, after=after, bytes_max=bytes_max, wait_s=attempt_s
            )
            return found

        found = await patiently(once, wait_s=2 * self._wait_s)
        if not found and replicated:
            behind = await self._led(stream, _NextOf(after + 1, subject))
            found = [] if behind is None else [behind]
        return found

    async def _led(self, stream: str, wanted: _NewestOf | _NextOf) -> Msg | None:
        """What the leader of a stream answers."""
        where, request = f"$JS.API.STREAM.MSG.GET.{stream}", msgspec.json.encode(wanted)

        async def once(attempt_s: float) -> Msg | None:
            answer = await self._client.request(where, request, timeout=attempt_s)
            told = _decode_told(answer.data)
            if told.message is not None:
                return self._message(told.message)
            if told.error is not None and told.error.err_code == NO_MESSAGE:
                return None
            raise _fault(told.error)

        return await patiently(once, wait_s=2 * self._wait_s, attempt_s=LED_ATTEMPT_S)

    def _message(self, held: _Held) -> Msg:
        lines = held.hdrs.decode().split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        headers = {name: value.strip() for name, _, value in pairs}
        return Msg(
            _client=self._client,
            subject=held.subject,
            data=held.data,
            headers=headers | {SEQUENCE: str(held.seq)},
        )

    async def _directly(self, stream: str, subject: str, *, after: int) -> list[Msg]:
        found: list[Msg] = []

        async def go_on(attempt_s: float) -> list[Msg]:
            await self._read_batches(stream, subject, found, after=after, wait_s=attempt_s)
            return found

        return await patiently(go_on, wait_s=2 * self._wait_s)

    async def _read_batches(
        self, stream: str, subject: str, found: list[Msg], *, after: int, wait_s: float
    ) -> None:
        """Append to ``found`` what comes after it; ``wait_s`` bounds the wait for each message."""
        more = True
        while more:
            more = await self._read_batch(
                stream, subject, found, after=after, bytes_max=_READ_BYTES, wait_s=wait_s
            )

    async def _read_batch(
        self,
        stream: str,
        subject: str,
        found: list[Msg],
        *,
        after: int,
        bytes_max: int,
        wait_s: float,
    ) -> bool:
        """Append to ``found`` some of what comes after it; whether there is more."""
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        try:
            start = (sequence_of(found[-1]) if found else after) + 1
            request = msgspec.json.encode(_Range(start, subject, _READ_BATCH, bytes_max))
            await self._client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
            message = await subscription.next_msg(timeout=wait_s)
            while not (status := _status(message)):
                found.append(message)
                message = await subscription.next_msg(timeout=wait_s)
            if status not in {*_NOT_FOUND, _END_OF_BATCH}:
                raise JournalUnavailable(f"direct get answered {status}")
            pending = (message.headers or {}).get("Nats-Num-Pending")
            return status == _END_OF_BATCH and pending != "0"
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    def _known(self, stream: str) -> bool | None:
        if self._client.stats["reconnects"] != self._reconnects:
            self._replicated.clear()
            self._reconnects = self._client.stats["reconnects"]
        return self._replicated.get(stream)

    async def _is_replicated(self, stream: str) -> bool:
        """Whether several servers keep a stream; asked once for each connection to one of them."""
        known = self._known(stream)
        if known is not None:
            return known

        async def once(attempt_s: float) -> bool:
            where = f"$JS.API.STREAM.INFO.{stream}"
            answer = await self._client.request(where, timeout=attempt_s)
            info = _decode_info(answer.data)
            if info.config is None:
                raise _fault(info.error)
            return info.config.num_replicas > 1

        known = await patiently(once, wait_s=2 * self._wait_s)
        self._replicated[stream] = known
        return known


def sequence_of(message: Msg) -> int:
    """Sequence of a message that was read."""
    return int((message.headers or {})[SEQUENCE])


def subject_of(message: Msg) -> str:
    """Subject of a message that was read."""
    return (message.headers or {}).get(_SUBJECT, message.subject)


def _fault(failure: Failure | None) -> Exception:
    if failure is not None and failure.err_code == _NO_STREAM:
        return nats.js.errors.NotFoundError(description=failure.description)
    return JournalUnavailable(failure.description if failure else "an answer without a message")


def _status(message: Msg) -> str:
    return (message.headers or {}).get("Status", "")
