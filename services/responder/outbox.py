"""Deltas of one turn on their way out: at once while they are slow, together when they pile up."""

import asyncio
from contextlib import suppress

import msgspec
import nats.errors
from nats.aio.client import Client

from schemas import deltas, subjects
from services import clock, faults
from services.encryption import Key
from services.journal.deltas import seal_delta

_encode = msgspec.json.Encoder().encode

COALESCE_S = 0.008
"""Least time between two messages of a long answer; what comes in between leaves together."""
MESSAGE_BYTES = 128 * 1024
"""Bytes of what waits above which it leaves: a message has room for so much only."""
PROMPT_MESSAGES = 16
"""Messages at the start of an answer that are not held back: first tokens are waited for."""


class Outbox:
    """Publishes frames of one response on its subject, in order; ``attempt`` says of which try."""

    def __init__(
        self, client: Client, project: str, response_id: str, *, stored: bool, key: Key | None
    ) -> None:
        """Nothing of a turn that is not ``stored`` comes to a disk; ``key`` encrypts what does."""
        named = subjects.delta if stored else subjects.delta_unstored
        self._client = client
        self._subject = named(project, response_id)
        self._owner = (project, response_id)
        self._key = key
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._first = 0
        self._sent_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._messages = 0
        self.attempt = 1

    async def put(self, frame: bytes, *, number: int) -> None:
        """Send a frame whose first event has this sequence number."""
        if not self._waiting:
            self._first = number
        self._waiting.append(frame)
        self._bytes += len(frame)
        if self._bytes > MESSAGE_BYTES:
            await self.flush()
        elif self._timer is None:
            # Even without a wait, frames that came in one piece leave in one piece.
            self._timer = asyncio.get_running_loop().call_later(self._wait_s(), self._send_soon)

    async def flush(self) -> None:
        """Send what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        payload, self._waiting, self._bytes = b"".join(self._waiting), [], 0
        self._sent_at = clock.monotonic()
        self._messages += 1
        headers = {deltas.KIND_HEADER: deltas.EVENTS, deltas.FIRST_HEADER: str(self._first)}
        if self.attempt > 1:
            headers[deltas.ATTEMPT_HEADER] = str(self.attempt)
        with suppress(nats.errors.MaxPayloadError):
            # Who listens hears a gap, and then the end from the log.
            await self._publish(payload, headers)
        await faults.point_behind("told", self._client.flush)

    async def tell_context(self, context: bytes) -> None:
        """Send what the turn leaves to one that follows, unless it has outgrown a message.

        Who is not told it cannot send it along: a request so large would not go through either.
        """
        headers = {deltas.KIND_HEADER: deltas.CONTEXT}
        with suppress(nats.errors.MaxPayloadError):
            await self._publish(context, headers)

    async def end(self, frame: bytes, *, number: int, sequence: int) -> None:
        """Send the terminal frame of a turn stored at stream ``sequence`` (0: not stored)."""
        await self.flush()
        headers = {
            deltas.KIND_HEADER: deltas.END,
            deltas.FIRST_HEADER: str(number),
            deltas.SEQUENCE_HEADER: str(sequence),
        }
        await self._publish(frame, headers)

    async def refuse(self, body: bytes, *, status: int, retry_after_s: int | None) -> None:
        """Send an error body instead of an answer."""
        headers = {deltas.KIND_HEADER: deltas.REFUSAL, deltas.STATUS_HEADER: str(status)}
        if retry_after_s is not None:
            headers[deltas.RETRY_AFTER_HEADER] = str(retry_after_s)
        await self._publish(body, headers)

    async def repeat(self, response_id: str) -> None:
        """Send where a request is answered that was made before."""
        headers = {deltas.KIND_HEADER: deltas.REPEAT}
        await self._publish(_encode(deltas.Repeat(response_id=response_id)), headers)

    async def _publish(self, payload: bytes, headers: dict[str, str]) -> None:
        if self._key is not None:
            payload = seal_delta(payload, headers, self._key, *self._owner)
        await self._client.publish(self._subject, payload, headers=headers)

    def _wait_s(self) -> float:
        if self._messages < PROMPT_MESSAGES:
            return 0
        return max(0, self._sent_at + COALESCE_S - clock.monotonic())

    def _send_soon(self) -> None:
        self._timer = None
        self._sending = asyncio.ensure_future(self.flush())
