"""Answers ``ask.export``: rows of a snapshot, which is kept for as long as they are taken."""

import functools
from collections.abc import Iterator

import duckdb
import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import queries, subjects
from schemas.queries import Export, ExportedPart, SqlAnswer
from services import clock
from services.projector import exporting, query
from services.projector.answer_query import Unanswered, behind, busy
from services.projector.answering import Answering, note_crash
from services.projector.asker import ENVELOPE_BYTES, Asker, AskerGone
from services.projector.generations import Generations
from services.projector.pieces import PIECE_BYTES, cut
from services.projector.settings import ProjectorSettings
from services.projector.threads import AllTaken, Threads

TAKE_S = 120.0
"""Seconds an asker may keep a piece, or have none of it: it writes files meanwhile."""

_encode = msgspec.json.Encoder().encode

log = structlog.get_logger()


class ExportAnswerer(Answering):
    """One at a time, on a thread of its own: statements are answered meanwhile."""

    def __init__(self, client: Client, views: Generations, settings: ProjectorSettings) -> None:
        """``settings`` bound how long is waited."""
        super().__init__(client, subjects.ask("export"))
        self._views = views
        self._settings = settings
        self._threads = Threads(1, name="export", unending_s=settings.sql_unending_s)

    async def stop(self) -> None:
        """Give up what is being exported."""
        await super().stop()
        self._threads.close()

    async def respond(self, message: Msg) -> None:
        """Answer one question, in pieces."""
        asker = Asker(self._client, message)
        begun = clock.monotonic()
        outcome = "answered"
        try:
            await asker.while_there(self._told(asker, message.data))
        except AskerGone:
            outcome = "given up"
        duration_ms = round((clock.monotonic() - begun) * 1000, 1)
        log.info("export.answered", outcome=outcome, duration_ms=duration_ms)

    async def _told(self, asker: Asker, payload: bytes) -> None:
        try:
            await self._export(asker, msgspec.json.decode(payload, type=Export))
        except AskerGone:
            raise
        except Exception as error:  # noqa: BLE001 - told is what it was
            await asker.tell(queries.NONE, _encode(self._reason(error)), until=_until())

    async def _export(self, asker: Asker, asked: Export) -> None:
        wait_s = min(asked.wait_s, self._settings.sql_wait_s_max)
        if not await self._views.reached(asked.sequence, wait_s=wait_s):
            raise Unanswered(behind(self._views, asked.sequence, wait_s=wait_s))
        async with self._threads.one(wait_s=wait_s):
            connection = self._views.cursor()
            try:
                await self._tell(asker, connection, asked)
            finally:
                connection.close()

    async def _tell(
        self, asker: Asker, connection: duckdb.DuckDBPyConnection, asked: Export
    ) -> None:
        def opened() -> tuple[queries.ExportOpened, list[ExportedPart]]:
            found = exporting.opened(connection, asked)
            return found, exporting.parts(connection, found.since)

        begun, parts = await self._threads.run(connection, opened, until=_until())
        await asker.tell(queries.OPENED, _encode(begun), until=_until())
        size = min(PIECE_BYTES, self._client.max_payload - ENVELOPE_BYTES)
        for part in parts:
            await asker.tell(queries.BEGUN, _encode(part), until=_until())
            pieces = _pieces(connection, part, size=size)
            last = False
            while not last:
                work = functools.partial(next, pieces)
                data, last = await self._threads.run(connection, work, until=_until())
                await asker.tell(queries.PIECE, data, until=_until())
        await asker.tell(queries.LAST, until=_until())

    def _reason(self, error: Exception) -> SqlAnswer:
        match error:
            case Unanswered():
                return error.answer
            case AllTaken():
                return busy(self._settings.sql_wait_s_max)
            case exporting.ExportRefused():
                return SqlAnswer(error=str(error), code=queries.LOG_DIFFERS)
            case msgspec.MsgspecError():
                return SqlAnswer(error=f"not a question: {error}", code=queries.REFUSED)
            case _ if isinstance(error, query.TOLD):
                return query.reason(error, time_s=TAKE_S)
            case _:
                note_crash("export.crashed", error)
                return SqlAnswer(error="the projector failed to export", code=queries.CRASHED)


def _pieces(
    connection: duckdb.DuckDBPyConnection, part: ExportedPart, *, size: int
) -> Iterator[tuple[bytes, bool]]:
    # Nothing is read before it is asked for, which is on a thread.
    yield from cut(exporting.rows(connection, part), size=size)


def _until() -> float:
    return clock.monotonic() + TAKE_S
