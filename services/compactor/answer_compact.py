"""Requests to compact on their way through the compactor, several at a time."""

import asyncio

import msgspec
import structlog
from nats.aio.msg import Msg

from schemas.http.compact import read_compact
from schemas.http.errors import ApiError, Overloaded, ServerFault
from schemas.queries import Compact, CompactAnswer
from services import clock
from services.compactor.compact_window import WindowCompactor
from services.journal import JournalUnavailable
from services.model import ModelRefused

log = structlog.get_logger()

WINDOWS_MAX = 16
"""Windows one process compacts at the same time; clients wait for each."""
LIFE_S = 2.0
"""Time between signs of life for who waits."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Compact).decode


class CompactAnswerer:
    """Answers whoever asks, and says meanwhile that it is at it."""

    def __init__(self, compactor: WindowCompactor) -> None:
        """``compactor`` does the work."""
        self._compactor = compactor
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(WINDOWS_MAX)

    async def take(self, message: Msg) -> None:
        """One request; the next is not kept waiting for its answer."""
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        started = clock.monotonic()
        life = asyncio.create_task(_show_life(message))
        try:
            async with self._places:
                answer = await self._outcome(message.data)
        finally:
            life.cancel()
        await message.respond(_encode(answer))
        log.info(
            "compact.answered",
            http_status=answer.status,
            duration_ms=round((clock.monotonic() - started) * 1000, 1),
        )

    async def _outcome(self, payload: bytes) -> CompactAnswer:
        try:
            asked = _decode(payload)
            window = read_compact(bytes(asked.body), strict=False)
            compacted = await self._compactor.compact(asked.project, window)
        except (ApiError, ModelRefused) as refused:
            return _refusal(refused)
        except JournalUnavailable:
            return _refusal(Overloaded("The service is temporarily unable to read. Please retry."))
        except Exception:
            # Nobody delivers it again: the asker has to be told.
            log.exception("compact.crashed")
            return _refusal(ServerFault("The server had an error while processing your request."))
        return CompactAnswer(body=msgspec.Raw(_encode(compacted)))


def _refusal(refused: ApiError | ModelRefused) -> CompactAnswer:
    return CompactAnswer(
        body=msgspec.Raw(refused.body()),
        status=refused.status,
        retry_after_s=refused.retry_after_s,
    )


async def _show_life(message: Msg) -> None:
    while True:
        await asyncio.sleep(LIFE_S)
        await message.respond(b"")
