"""The log from one sequence on, without a gap, as fast as it comes.

An ephemeral consumer without acks is asked for more before what it was asked for has come. Whatever
may have been lost on the way (a message, an answer, the consumer, the connection) ends the
consumer: the next one begins after the last message that did come.
"""

import asyncio
import re
from bisect import bisect_right
from contextlib import suppress

import msgspec
import nats.errors
import structlog
from nats.js import api
from nats.js.errors import NotFoundError

from schemas import subjects
from services import clock
from services.projector.facts import Message
from services.projector.log_client import LogClient
from services.projector.settings import ProjectorSettings

PULL_MESSAGES = 2_000
"""Messages asked for at a time, twice at once."""
PULL_BYTES = 16 * 1024 * 1024
"""Bytes asked for at a time. The server ends a connection that is 64 MiB behind (max_pending)."""
PULL_S = 30.0
"""How long a request for messages stands."""
HEARTBEAT_S = 1.0
"""How often the server says that a request still stands while no messages come."""
SILENCE_S = 3.0
"""Seconds without a word after which the consumer is given up."""
RETRY_S = 0.2
INACTIVE_S = 60.0
"""Seconds without requests after which the server forgets the consumer."""

_PENDING = re.compile(rb"\r\nNats-Pending-Messages: ?(\d+)")
_PASSED = re.compile(rb"\r\nNats-Last-Consumer: ?(\d+)\r\nNats-Last-Stream: ?(\d+)")
_NANOSECONDS = 1_000_000_000

log = structlog.get_logger()


class LogReplaced(Exception):
    """The log is not the one the views were made from: it was made anew, or lost its end."""


class Follower:
    """Messages after a sequence, buffered, from `start` to `stop`."""

    def __init__(
        self, client: LogClient, settings: ProjectorSettings, *, after: int, name: str
    ) -> None:
        """``name`` is the log's own (`Follower.name`) where ``after`` was taken from; or empty."""
        self.name = name
        """Tells this log from one made later under the same subjects."""
        self.passed = after
        """Sequence up to which the log holds nothing that has not been taken with `batch`."""
        self._client = client
        self._settings = settings
        self._end: int | None = None
        self._last = after
        self._buffer: list[Message] = []
        self._bytes = 0
        self._asked = 0
        self._delivered = 0
        self._heard = False
        self._silent_since = 0.0
        self._lost = "not begun"
        self._wake = asyncio.Event()
        self._arrived = asyncio.Event()
        self._pending = 0

    @property
    def following(self) -> bool:
        """Whether messages would come, were there any."""
        return not self._lost and self._client.is_connected

    @property
    def caught_up(self) -> bool:
        """Whether the last message received was the log's last when it was sent."""
        return self._pending == 0 and not self._buffer

    @property
    def log_end(self) -> int:
        """The log's last sequence when the last message received was sent; deletions aside."""
        return self._last + self._pending

    def end_at(self, sequence: int | None) -> None:
        """Let `batch` give nothing beyond ``sequence`` until this is called again; none: all."""
        self._end = sequence
        self._arrived.set()

    def start(self) -> None:
        """Begin to follow; once."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._arrived.set())

    async def stop(self) -> None:
        """Follow no more."""
        # More than once: a request that is answered at that moment swallows it (Python 3.11).
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=RETRY_S)
        if not self._task.cancelled():
            self._task.exception()

    async def batch(self) -> list[Message]:
        """What has come since the last call, at least one message, or none when `passed` has moved.

        Raises `LogReplaced` where the views must be made anew.
        """
        self._arrived.clear()
        if not self._takeable():
            await self._arrived.wait()
        if not self._buffer and self._task.done():
            self._task.result()
        limit = self._takeable()
        taken, self._buffer = self._buffer[:limit], self._buffer[limit:]
        self._bytes -= sum(len(message.payload) for message in taken)
        self._wake.set()
        if taken:
            self.passed = taken[-1].sequence
        return taken

    def _takeable(self) -> int:
        """How many messages the next batch has."""
        most = min(len(self._buffer), self._settings.batch_events_max)
        if self._end is None or not most or self._buffer[most - 1].sequence <= self._end:
            return most
        return bisect_right(self._buffer, self._end, hi=most, key=lambda each: each.sequence)

    async def _run(self) -> None:
        known = ""
        while True:
            try:
                await self._follow_one_consumer()
                known = ""
            except (nats.errors.Error, TimeoutError, ConnectionError) as error:
                name = type(error).__name__
                if name != known:
                    log.warning("log.unreachable", error=name)
                known = name
                await asyncio.sleep(RETRY_S)

    async def _follow_one_consumer(self) -> None:
        while not self._client.is_connected:  # noqa: ASYNC110 - nats-py has no event for it
            await asyncio.sleep(RETRY_S)
        reconnects = self._client.stats["reconnects"]
        consumer = await self._consumer()
        self._asked = self._delivered = 0
        self._silent_since = clock.monotonic()
        self._lost = ""
        inbox = self._client.new_inbox()
        subscription = await self._client.tap(inbox, self._receive)
        try:
            while not self._lost:
                self._wake.clear()
                await self._pull(consumer, inbox)
                await self._wait()
                if self._client.stats["reconnects"] != reconnects:
                    self._lost = self._lost or "reconnected"
        finally:
            self._lost = self._lost or "stopped"
            await self._client.untap(subscription)
        log.warning("log.consumer_lost", reason=self._lost, sequence=self._last)

    async def _consumer(self) -> str:
        """A fresh consumer of what comes after the last message received."""
        stream = self._client.jetstream()
        try:
            info = await stream.stream_info(subjects.CONVERSATIONS)
        except NotFoundError as error:
            if self._last:
                raise LogReplaced("the log is gone") from error
            raise
        assert info.created is not None
        name = info.created.isoformat()
        if self.name not in {"", name}:
            raise LogReplaced(f"the log was made anew at {name}")
        if info.state.last_seq < self._last:
            raise LogReplaced(f"the log ends at {info.state.last_seq}, before {self._last}")
        self.name = name
        made = await stream.add_consumer(
            subjects.CONVERSATIONS,
            api.ConsumerConfig(
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._last + 1,
                ack_policy=api.AckPolicy.NONE,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=INACTIVE_S,
            ),
        )
        self._pending = made.num_pending or 0
        return made.name

    async def _pull(self, consumer: str, inbox: str) -> None:
        """Ask for more while there is room and less than two requests stand."""
        limits = self._settings
        while (
            self._asked <= PULL_MESSAGES
            and self._asked + len(self._buffer) + PULL_MESSAGES <= limits.buffer_events_max
            and self._bytes < limits.buffer_bytes_max
        ):
            self._asked += PULL_MESSAGES
            await self._client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{subjects.CONVERSATIONS}.{consumer}",
                msgspec.json.encode(
                    {
                        "batch": PULL_MESSAGES,
                        "max_bytes": max(PULL_BYTES, 2 * self._client.max_payload),
                        "expires": int(PULL_S * _NANOSECONDS),
                        "idle_heartbeat": int(HEARTBEAT_S * _NANOSECONDS),
                    }
                ),
                reply=inbox,
            )

    async def _wait(self) -> None:
        """Until there may be something to do; a silent server is one that lost the consumer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await self._wake.wait()
        if self._heard or not self._asked:
            self._silent_since = clock.monotonic()
        elif clock.monotonic() - self._silent_since >= SILENCE_S:
            self._lost = self._lost or "silent"
        self._heard = False

    def _receive(self, reply: bytes, headers: bytes, payload: bytes) -> None:
        self._heard = True
        if self._lost:
            return
        if not reply:
            self._read_status(headers)
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<number>.<time>.<pending>; with a
        # domain, two tokens more in front. ADR-15.
        tokens = reply.split(b".")
        shift = 0 if len(tokens) == 9 else 2  # noqa: PLR2004 - the tokens above
        number = int(tokens[6 + shift])
        if number != self._delivered + 1:
            self._lose(f"message {self._delivered + 1} did not arrive")
            return
        self._delivered = number
        self._last = int(tokens[5 + shift])
        self._pending = int(tokens[8 + shift])
        self._buffer.append(Message(self._last, headers, payload))
        self._bytes += len(payload)
        self._asked -= 1
        if self._asked == PULL_MESSAGES:
            self._wake.set()
        if len(self._buffer) == 1:
            self._arrived.set()

    def _read_status(self, headers: bytes) -> None:
        """A message that is none: ``NATS/1.0 408 Request Timeout`` and such."""
        if headers.startswith(b"NATS/1.0 100"):
            self._read_heartbeat(headers)
            return
        pending = _PENDING.search(headers)
        if pending is None:
            self._lose(headers.partition(b"\r\n")[0].removeprefix(b"NATS/1.0 ").decode())
            return
        # The request ended early, for its age or its bytes: ask again.
        self._asked -= int(pending[1])
        self._wake.set()

    def _read_heartbeat(self, headers: bytes) -> None:
        passed = _PASSED.search(headers)
        if passed is None:
            return
        if int(passed[1]) != self._delivered:
            self._lose("its last messages did not arrive")
        elif not self._buffer and int(passed[2]) > self.passed:
            # Messages at the end of the log were deleted.
            self.passed = self._last = int(passed[2])
            self._arrived.set()

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._wake.set()
