"""Commits of many conversations in the order of the log: all there are, or for ever.

An ephemeral consumer without acks costs the log no write, and is asked for no more than is taken.
What may have been lost on the way ends it: the next one begins behind the last commit that came.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from schemas import envelope, subjects
from services import clock
from services.encryption import Altered
from services.journal import JournalUnavailable
from services.journal.patience import patiently
from services.journal.publishing import Failure
from services.journal.vault import Vault

PULL_COMMITS = 500
"""Commits asked for at a time, twice at once."""
PULL_BYTES = 8 * 1024 * 1024
PULL_S = 30.0
"""How long a request for commits stands."""
HEARTBEAT_S = 1.0
SILENCE_S = 3.5
"""Seconds without a word after which the consumer is given up."""
INACTIVE_S = 60.0
"""Seconds without requests after which the server forgets the consumer."""
_NANOSECONDS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEARTBEAT = "100"
_NO_STREAM = 10059
"""JSStreamNotFoundErr of nats-server."""
_COUNT = re.compile("[0-9]+")


class Logged(NamedTuple):
    """A commit as it came; ``at`` is when the log stored it.

    Where it was unsealed, ``sealed`` is what the log holds. ``altered``: the log holds something
    else than was sealed.
    """

    sequence: int
    at: datetime
    subject: str
    headers: Mapping[str, str]
    payload: bytes
    sealed: bytes = b""
    altered: bool = False

    @property
    def digest(self) -> str:
        """What the next commit of the conversation carries as ``prev``."""
        return envelope.digest(self.sealed or self.payload)


class LogMissing(Exception):
    """The server has no log of Turnlog's."""


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says of itself.

    ``created`` tells it from one made later; ``num_deleted`` counts messages between its first and
    its last that it holds no more.
    """

    created: str
    messages: int
    first_seq: int
    last_seq: int
    num_deleted: int = 0


class _State(msgspec.Struct):
    messages: int
    first_seq: int
    last_seq: int
    num_deleted: int = 0


class _Info(msgspec.Struct):
    created: str = ""
    state: _State | None = None
    error: Failure | None = None


class _Made(msgspec.Struct):
    name: str = ""
    num_pending: int = 0
    error: Failure | None = None


async def state(client: Client) -> LogState:
    """The log as its leader has it; raises `LogMissing` or `JournalUnavailable`."""
    answer = await _ask(client, f"STREAM.INFO.{subjects.CONVERSATIONS}", b"")
    info = msgspec.json.decode(answer, type=_Info)
    if info.state is None:
        raise _fault(info.error)
    found = info.state
    return LogState(
        created=info.created,
        messages=found.messages,
        first_seq=found.first_seq,
        last_seq=found.last_seq,
        num_deleted=found.num_deleted,
    )


async def unsealed(batch: Sequence[Logged], vault: Vault | None) -> list[Logged]:
    """Commits with their content, as far as ``vault`` has the keys."""
    if vault is None:
        return list(batch)
    found = []
    for logged in batch:
        try:
            payload = await vault.opened(logged.payload)
        except Altered:
            found.append(logged._replace(altered=True))
            continue
        sealed = b"" if payload is logged.payload else logged.payload
        found.append(logged._replace(payload=payload, sealed=sealed))
    return found


async def follow(
    client: Client,
    wanted: Sequence[str],
    *,
    after: int,
    since: datetime | None = None,
    through: int | None = None,
) -> AsyncIterator[list[Logged]]:
    """Commits with a sequence above ``after``, stored ``since`` then, as many as have come.

    ``wanted`` are subjects. Ends with the last there is up to ``through``; without that never.
    Raises `JournalUnavailable` when the connection is gone.
    """
    while True:
        reading = _Reading(client)
        try:
            await reading.start(wanted, after=after, since=since)
            while through is None or reading.pending or reading.arrived:
                batch = await reading.batch()
                if batch:
                    after, since = batch[-1].sequence, None
                    yield [each for each in batch if through is None or each.sequence <= through]
                    if through is not None and after >= through:
                        return
                elif reading.lost:
                    break
            else:
                return
        except nats.errors.Error as error:
            raise JournalUnavailable(str(error) or type(error).__name__) from error
        finally:
            await reading.stop()
        if not client.is_connected:
            raise JournalUnavailable("the connection is gone")


class _Reading:
    """One consumer, from its making to its loss."""

    def __init__(self, client: Client) -> None:
        self.arrived: list[Logged] = []
        self.pending = 0
        """Commits there were behind the last that arrived."""
        self.lost = ""
        self._client = client
        self._inbox = client.new_inbox()
        self._name = ""
        self._subscription: Subscription | None = None
        self._asked = 0
        self._delivered = 0
        self._heard_at = 0.0
        self._news = asyncio.Event()

    async def start(self, wanted: Sequence[str], *, after: int, since: datetime | None) -> None:
        """Make the consumer, and ask."""
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        if since is not None:
            start = {"deliver_policy": "by_start_time", "opt_start_time": since.isoformat()}
        config = {
            **start,
            "filter_subjects": list(wanted),
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(INACTIVE_S * _NANOSECONDS),
        }
        request = {"stream_name": subjects.CONVERSATIONS, "config": config}
        answer = await _ask(
            self._client,
            f"CONSUMER.CREATE.{subjects.CONVERSATIONS}",
            msgspec.json.encode(request),
        )
        made = msgspec.json.decode(answer, type=_Made)
        if not made.name:
            raise _fault(made.error)
        self._name, self.pending = made.name, made.num_pending
        self._heard_at = clock.monotonic()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._receive)
        await self._pull()

    async def batch(self) -> list[Logged]:
        """What has arrived, or nothing after a while, or when the consumer is lost."""
        if not self.arrived and not self.lost:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._news.wait()
            if self._client.is_closed or clock.monotonic() - self._heard_at > SILENCE_S:
                self.lost = self.lost or "silent"
        taken, self.arrived = self.arrived, []
        if not self.lost:
            await self._pull()
        return taken

    async def stop(self) -> None:
        """Let the server forget it."""
        if not self._name or not self._client.is_connected:
            return
        where = f"$JS.API.CONSUMER.DELETE.{subjects.CONVERSATIONS}.{self._name}"
        with suppress(nats.errors.Error):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            await self._client.publish(where)

    async def _pull(self) -> None:
        """Ask for more while less than two requests stand."""
        while self._asked <= PULL_COMMITS and len(self.arrived) < PULL_COMMITS:
            self._asked += PULL_COMMITS
            request = {
                "batch": PULL_COMMITS,
                "max_bytes": max(PULL_BYTES, 2 * self._client.max_payload),
                "expires": int(PULL_S * _NANOSECONDS),
                "idle_heartbeat": int(HEARTBEAT_S * _NANOSECONDS),
            }
            await self._client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{subjects.CONVERSATIONS}.{self._name}",
                msgspec.json.encode(request),
                reply=self._inbox,
            )

    async def _receive(self, message: Msg) -> None:
        self._heard_at = clock.monotonic()
        if self.lost:
            return
        headers = message.headers or {}
        if not message.reply:
            self._read_status(headers)
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<number>.<time>.<pending>; with a
        # domain, two tokens more in front. ADR-15.
        tokens = message.reply.split(".")
        shift = 0 if len(tokens) == 9 else 2  # noqa: PLR2004 - the tokens above
        sequence, number, nanoseconds, pending = map(int, tokens[5 + shift : 9 + shift])
        if number != self._delivered + 1:
            self._lose(f"commit {self._delivered + 1} did not arrive")
            return
        self._delivered, self.pending = number, pending
        self._asked -= 1
        at = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
        self.arrived.append(Logged(sequence, at, message.subject, headers, message.data))
        self._news.set()

    def _read_status(self, headers: Mapping[str, str]) -> None:
        """A message that is none: a heartbeat, or a request that has ended."""
        if headers.get("Status") == _HEARTBEAT:
            delivered = headers.get("Nats-Last-Consumer", "")
            if _COUNT.fullmatch(delivered) and int(delivered) != self._delivered:
                self._lose("its last commits did not arrive")
        elif (unserved := headers.get("Nats-Pending-Messages")) is not None:
            self._asked -= int(unserved)
            self._news.set()
        else:
            self._lose(headers.get("Description", "ended"))

    def _lose(self, reason: str) -> None:
        self.lost = reason
        self._news.set()


async def _ask(client: Client, what: str, request: bytes) -> bytes:
    async def once(attempt_s: float) -> bytes:
        answer = await client.request(f"$JS.API.{what}", request, timeout=attempt_s)
        return answer.data

    return await patiently(once, wait_s=10.0)


def _fault(failure: Failure | None) -> Exception:
    if failure is not None and failure.err_code == _NO_STREAM:
        return LogMissing("the server has no log of Turnlog's")
    return JournalUnavailable(failure.description if failure else "an answer without a result")
