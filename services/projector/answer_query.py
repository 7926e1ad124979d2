"""Answers ``ask.sql``: any projector that hears the question may, so one does."""

import functools

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import queries, subjects
from schemas.queries import Sql, SqlAnswer
from services import clock
from services.projector import query
from services.projector.answering import Answering, note_crash
from services.projector.asker import ENVELOPE_BYTES, Asker, AskerGone
from services.projector.generations import Generations
from services.projector.pieces import PIECE_BYTES, Answer, Piece
from services.projector.settings import ProjectorSettings
from services.projector.threads import AllTaken, Threads

log = structlog.get_logger()

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Unanswered(Exception):
    """Why a question has no answer."""

    def __init__(self, answer: SqlAnswer) -> None:
        """``answer`` is what is told instead."""
        self.answer = answer
        super().__init__(answer.error)


class QueryAnswerer(Answering):
    """Runs statements on threads of their own; neither the loop nor the writer waits for one."""

    def __init__(
        self, client: Client, views: Generations, threads: Threads, settings: ProjectorSettings
    ) -> None:
        """``settings`` bound what a question may take."""
        super().__init__(client, subjects.ask("sql"))
        self._views = views
        self._settings = settings
        self._threads = threads

    async def respond(self, message: Msg) -> None:
        """Answer one question, in pieces if it is asked so."""
        begun = clock.monotonic()
        try:
            question = msgspec.json.decode(message.data, type=Sql)
        except msgspec.MsgspecError as error:
            answer = SqlAnswer(error=f"not a question: {error}", code=queries.REFUSED)
            await message.respond(_encode(answer))
            return
        told = "answered"
        try:
            if question.pieces:
                asker = Asker(self._client, message)
                await asker.while_there(self._in_pieces(asker, question))
            else:
                await message.respond(await self.answer(question))
        except AskerGone:
            told = "given up"
        except Exception as error:  # noqa: BLE001 - nobody can be told
            note_crash("query.crashed", error)
            return
        duration_ms = round((clock.monotonic() - begun) * 1000, 1)
        log.info("query.answered", outcome=told, duration_ms=duration_ms)

    async def answer(self, question: Sql) -> bytes:
        """The encoded answer to ``question`` in one message; its error text where there is none."""
        try:
            return await self._whole(question)
        except Exception as error:  # noqa: BLE001 - told is what it was
            return _encode(self._reason(error, question))

    async def _whole(self, question: Sql) -> bytes:
        wait_s = await self._ready(question)
        async with self._threads.one(wait_s=wait_s):
            connection = self._views.cursor()
            work = functools.partial(
                query.run,
                connection,
                question.statement,
                project=question.project,
                rows_max=self._rows(question),
                bytes_max=self._client.max_payload - ENVELOPE_BYTES,
            )
            until = clock.monotonic() + self._time_s(question)
            return await self._threads.run(connection, work, until=until)

    async def _in_pieces(self, asker: Asker, question: Sql) -> None:
        try:
            wait_s = await self._ready(question)
            async with self._threads.one(wait_s=wait_s):
                await self._tell(asker, question)
        except AskerGone:
            raise
        except Exception as error:  # noqa: BLE001 - told is what it was
            until = clock.monotonic() + self._settings.sql_wait_s_max
            reason = self._reason(error, question)
            await asker.tell(queries.NONE, _encode(reason), sequence=reason.sequence, until=until)

    async def _tell(self, asker: Asker, question: Sql) -> None:
        until = clock.monotonic() + self._time_s(question)
        arrow = question.form == queries.ARROW
        connection = self._views.cursor()
        try:
            answer = Answer(
                connection,
                question.statement,
                project=question.project,
                form=question.form,
                rows_max=question.rows_max if arrow else self._rows(question),
                piece_bytes=min(PIECE_BYTES, self._client.max_payload - ENVELOPE_BYTES),
            )
            pieces = answer.pieces()
            while True:
                piece: Piece = await self._threads.run(
                    connection, functools.partial(next, pieces), until=until
                )
                kind = queries.LAST if piece.last else queries.PIECE
                await asker.tell(
                    kind,
                    piece.data,
                    sequence=answer.sequence,
                    truncated=piece.truncated,
                    until=until + self._settings.sql_wait_s_max,
                )
                if piece.last:
                    return
        finally:
            connection.close()

    async def _ready(self, question: Sql) -> float:
        """Seconds it may still wait for others, once the views are where it wants them."""
        wait_s = min(question.wait_s, self._settings.sql_wait_s_max)
        deadline = clock.monotonic() + wait_s
        if not await self._views.reached(question.sequence, wait_s=wait_s):
            raise Unanswered(behind(self._views, question.sequence, wait_s=wait_s))
        return deadline - clock.monotonic()

    def _reason(self, error: Exception, question: Sql) -> SqlAnswer:
        match error:
            case Unanswered():
                return error.answer
            case AllTaken():
                return busy(min(question.wait_s, self._settings.sql_wait_s_max))
            case _ if isinstance(error, query.TOLD):
                return query.reason(error, time_s=self._time_s(question))
            case _:
                note_crash("query.crashed", error)
                told = "the projector failed to run the statement"
                return SqlAnswer(error=told, code=queries.CRASHED)

    def _rows(self, question: Sql) -> int:
        rows_max = self._settings.sql_rows_max
        return rows_max if question.rows_max is None else min(question.rows_max, rows_max)

    def _time_s(self, question: Sql) -> float:
        return min(question.time_s_max, self._settings.sql_time_s_max)


def behind(views: Generations, sequence: int, *, wait_s: float) -> SqlAnswer:
    """What is told of a sequence the views do not stand at."""
    why = views.hindrance()
    return SqlAnswer(
        sequence=views.sequence,
        error=f"the views stand at {views.sequence} and did not reach "
        f"{sequence}{f': {why}' if why else f' in {wait_s:g} s'}",
        code=queries.BEHIND,
    )


def busy(wait_s: float) -> SqlAnswer:
    """What is told when no thread is free."""
    return SqlAnswer(error=f"other statements ran for {wait_s:g} s: try again", code=queries.BUSY)
