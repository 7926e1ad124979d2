"""What becomes of one turn, as whoever asked for it hears it: in order, without gaps, and bounded.

A client may read more slowly than its turn speaks. What then waits for it in memory is bounded: of
a turn that is stored the rest is left out and read again, a slice at a time, from where it is kept;
of any other nothing is kept anywhere, and its client is cut off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
import structlog
from nats.aio.msg import Msg

from schemas import deltas
from schemas import ids as id_forms
from schemas.http.errors import Overloaded
from services import clock
from services.conversation.history import Turn
from services.conversation.retelling import retold, terminal
from services.encryption import Key
from services.journal import JournalUnavailable
from services.journal.conversations import Conversations
from services.journal.deltas import (
    Deltas,
    Fence,
    ending,
    first,
    is_refusal,
    joined,
    open_delta,
)

SLICE_BYTES = 256 * 1024
"""Bytes of what is kept of a turn that are read at once."""
STALLED_S = 1.0
"""Seconds in which nothing was taken after which a client counts as slow."""
BURST_FACTOR = 4
"""How many times the bound may wait before that: a long answer is told whole in each of its last
events."""
UNKEPT_BURST_FACTOR = 32
"""The same for what cannot be read again."""
KEPT_WAIT_S = 2.0
"""Seconds after which what was heard is kept as well."""
KEPT_INTERVAL_S = 0.02
UNREADABLE_WAIT_S = 0.5
"""Seconds before what is kept is read again, if it cannot be read now."""
_NO_RESPONDER = "503"

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

    @property
    def says_something(self) -> bool:
        """Whether whoever listens has anything to do about it."""
        return bool(self.payload) or self.end or self.refusal is not None


class Kept(msgspec.Struct, frozen=True):
    """Where what a stored turn has said, and how it has ended, can be read again."""

    deltas: Deltas
    conversations: Conversations


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that has ended, as the log tells it at ``sequence``."""

    turn: Turn
    conversation_id: str
    sequence: int

    def just_now(self) -> bool:
        """Whether some of what it said may not be kept yet."""
        assert self.turn.ended_at is not None
        return (clock.now() - self.turn.ended_at).total_seconds() < KEPT_WAIT_S


class ServerStopping(Overloaded):
    """The process that tells of a turn ends; others go on with it."""


class Unread(Overloaded):
    """A client has not read what its turn said, and nothing of it is kept."""


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
        bytes_max: int,
        runs: Callable[[], Awaitable[bool]] | None = None,
        ended: Ended | None = None,
        key: Key | None = None,
    ) -> None:
        """``kept`` is there for turns that are stored; for others, ``runs`` says if they go on.

        ``bytes_max`` bounds what waits for a slow client. ``key`` opens what is encrypted.
        """
        self._project = project
        self._response_id = response_id
        self._kept = kept
        self._runs = runs
        self._ended = ended
        self._bytes_max = bytes_max
        self._key = key
        self._heard: list[Msg] = []
        self._heard_bytes = 0
        self._something = asyncio.Event()
        self._said = False
        self._listening = False
        self._told_at = clock.monotonic()
        self._position = 0
        """Sequence of the last message that was read from what is kept."""
        self._reading = False
        """Whether something that is to be told can only be read."""
        self._left_out: int | None = None
        """Number of the last event that was heard, and left out."""
        self._cut = False
        self._stopping = False
        self._torn = False
        """Whether something was lost for good: of what is left only the end can be told."""
        self._fence_heard, self._fence_read = Fence(), Fence()
        self.number = number
        self.context: bytes | None = None

    async def hear(self, message: Msg) -> None:
        """Take a message of the turn's subject."""
        if self._key is not None:
            open_delta(message, self._key, self._project, self._response_id)
        if (message.headers or {}).get(deltas.KIND_HEADER) == deltas.CONTEXT:
            self.context = message.data
            return
        if not self._fence_heard.passes(message):
            return
        if self._heard and self._too_much(len(message.data)):
            self._leave_out(message)
        else:
            self._heard.append(message)
            self._heard_bytes += len(message.data)
        self._something.set()

    def catch_up(self) -> None:
        """Hear again all that was said before."""
        if self._kept is not None:
            self._reading = True
            self._something.set()

    def stop(self) -> None:
        """Tell nothing any more, except an end that has been heard."""
        self._stopping = True
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

        A turn that ended in silence, since whoever ran it died before telling, has ended. Raises
        `Unread` for a client that came back too late, and `ServerStopping`.
        """
        until = clock.monotonic() + wait_s
        self._listening = True
        try:
            while True:
                told = await self._next(max(0.0, until - clock.monotonic()))
                if told is None or told.says_something:
                    return told
        except JournalUnavailable as error:
            # Nothing is lost by that: it is read again, as often as somebody asks for it.
            log.warning("deltas.unreadable", response_id=self._response_id, error=str(error))
            self.catch_up()
            await asyncio.sleep(UNREADABLE_WAIT_S)
            return None
        finally:
            self._listening = False
            self._told_at = clock.monotonic()

    async def _next(self, wait_s: float) -> Told | None:
        try:
            async with asyncio.timeout(wait_s):
                await self._something.wait()
        except TimeoutError:
            # If the log cannot tell now, it is asked again after the next silence.
            with suppress(JournalUnavailable):
                return await self._after_silence()
            return None
        self._something.clear()
        if self._cut:
            raise Unread("The answer was not read in time. Please retry.")
        heard = self._take()
        for message in heard:
            if (message.headers or {}).get("Status") == _NO_RESPONDER:
                raise Overloaded("No responder is running. Please retry.")
            if is_refusal(message):
                return _refusal(message)
        if self._torn:
            return await self._end_behind_gap(heard)
        told = joined(heard, number=self.number, said=self._said)
        if self._stopping and not told.end:
            raise ServerStopping("The server is stopping; the turn goes on. Please retry.")
        if told.payload or told.end or not (told.rest or self._reading):
            self._put_back(told.rest)
            return self._advance(told.payload, told.number, end=told.end, sequence=told.sequence)
        # The connection was away for a while, or we came late, or were not listened to.
        return await self._read(told.rest)

    def _too_much(self, size: int) -> bool:
        waiting = self._heard_bytes + size
        if waiting <= self._bytes_max:
            return False
        stalled = not self._listening and clock.monotonic() - self._told_at > STALLED_S
        factor = UNKEPT_BURST_FACTOR if self._kept is None else BURST_FACTOR
        return stalled or waiting > factor * self._bytes_max

    def _leave_out(self, message: Msg) -> None:
        """Forget what waits, and this message: it is not read, or more than can be kept here."""
        for each in (*self._take(), message):
            self._left_out = max(self._left_out or 0, first(each))
        self._reading = self._kept is not None
        self._cut = self._kept is None

    def _take(self) -> list[Msg]:
        heard, self._heard, self._heard_bytes = self._heard, [], 0
        return heard

    def _put_back(self, messages: tuple[Msg, ...]) -> None:
        """Let messages wait, before those that have come since."""
        self._heard[:0] = messages
        self._heard_bytes += sum(len(message.data) for message in messages)
        if self._heard or self._reading:
            self._something.set()

    def _advance(self, payload: bytes, number: int, *, end: bool, sequence: int = 0) -> Told:
        self.number = number
        self._said = self._said or bool(payload)
        return Told(payload=payload, end=end, sequence=sequence)

    async def _read(self, heard: tuple[Msg, ...]) -> Told | None:
        """What comes next of what is kept; ``heard`` was said behind that."""
        kept, until = self._kept, clock.monotonic() + KEPT_WAIT_S
        if kept is None:
            return await self._behind_gap(heard)
        self._reading = True
        while True:
            found, self._position = await kept.deltas.read_slice(
                self._project, self._response_id, after=self._position, bytes_max=SLICE_BYTES
            )
            for message in found:
                if is_refusal(message):
                    return _refusal(message)
            counting = tuple(filter(self._fence_read.passes, found))
            told = joined(counting, number=self.number, said=self._said)
            if told.rest and self._ended is None:
                # What is kept begins later than what is wanted: its age is limited, and what was
                # told while the log was killed may not have been kept.
                self._put_back(heard)
                return await self._behind_gap(told.rest, before=told.payload, number=told.number)
            if told.payload or told.end:
                self._put_back(heard)
                return self._advance(
                    told.payload, told.number, end=told.end, sequence=told.sequence
                )
            if found and not told.rest:
                continue
            if self._ended is not None and (told.rest or not self._ended.just_now()):
                return self._as_logged(self._ended)
            if self._ended is None and self._connects(heard):
                self._reading = False
                self._put_back(heard)
                return Told(payload=b"")
            if self._ended is None and clock.monotonic() > until:
                self._reading, self._left_out = False, None
                return await self._behind_gap(heard) if heard else await self._after_silence()
            # It is heard a moment before it is kept.
            await asyncio.sleep(KEPT_INTERVAL_S)

    def _connects(self, heard: tuple[Msg, ...]) -> bool:
        """Whether ``heard`` follows what has been told, and nothing in between was left out."""
        if heard:
            return first(heard[0]) <= self.number
        return self._left_out is None or self._left_out < self.number

    async def _behind_gap(
        self, messages: tuple[Msg, ...], *, before: bytes = b"", number: int | None = None
    ) -> Told | None:
        """``before`` is told yet; ``messages`` were said behind something that was lost."""
        log.warning("deltas.lost", response_id=self._response_id, number=self.number)
        self._torn, self._reading = True, False
        if not before:
            return await self._end_behind_gap(messages)
        self._put_back(messages)
        return self._advance(before, number or self.number, end=False)

    async def _end_behind_gap(self, heard: Sequence[Msg]) -> Told | None:
        """The end, if it is there: a stream has no gaps, and its end holds all that was said."""
        told = ending(heard, number=self.number)
        if told is None:
            return Told(payload=b"")
        if self._kept is not None and not self.number:
            # No stream begins with its end.
            return await self._after_silence()
        return self._advance(told.payload, told.number, end=True, sequence=told.sequence)

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
        if turn is not None:
            self._ended = Ended(
                turn=turn, conversation_id=conversation_id, sequence=loaded.sequence
            )
        # Without a turn: it was refused, perhaps, while the connection was away.
        told = await self._read(())
        return told if told is not None and told.says_something else None

    def _as_logged(self, ended: Ended) -> Told:
        """The end, where what was said before it is not kept (any more)."""
        turn, conversation_id = ended.turn, ended.conversation_id
        if turn.streamed and not self.number:
            payload = b"".join(retold(turn, conversation_id=conversation_id))
        else:
            payload = terminal(turn, conversation_id=conversation_id, number=self.number)
        return Told(payload=payload, end=True, sequence=ended.sequence)


def _refusal(message: Msg) -> Told:
    headers = message.headers or {}
    after = headers.get(deltas.RETRY_AFTER_HEADER)
    return Told(
        payload=message.data,
        refusal=int(headers[deltas.STATUS_HEADER]),
        retry_after_s=int(after) if after else None,
    )
