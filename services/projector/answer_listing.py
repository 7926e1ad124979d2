"""Answers ``ask.conversations`` from the views."""

import functools

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import queries, subjects
from schemas.queries import Listing, ListingAnswer, SqlAnswer
from services import clock
from services.projector import query
from services.projector.answer_query import behind, busy
from services.projector.answering import Answering, note_crash
from services.projector.generations import Generations
from services.projector.listing import listed
from services.projector.settings import ProjectorSettings
from services.projector.threads import AllTaken, Threads

TIME_S = 10.0
"""Seconds a listing may take."""

log = structlog.get_logger()


class ListingAnswerer(Answering):
    """On the threads of statements."""

    def __init__(
        self, client: Client, views: Generations, threads: Threads, settings: ProjectorSettings
    ) -> None:
        """``settings`` bound how long is waited."""
        super().__init__(client, subjects.ask("conversations"))
        self._views = views
        self._threads = threads
        self._settings = settings

    async def respond(self, message: Msg) -> None:
        """Answer one question."""
        try:
            answer = await self._answer(msgspec.json.decode(message.data, type=Listing))
        except msgspec.MsgspecError as error:
            answer = ListingAnswer(error=f"not a question: {error}", code=queries.REFUSED)
        except Exception as error:  # noqa: BLE001 - told is that it failed
            note_crash("listing.crashed", error)
            answer = ListingAnswer(
                error="the projector failed to list conversations", code=queries.CRASHED
            )
        await message.respond(msgspec.json.encode(answer))

    async def _answer(self, asked: Listing) -> ListingAnswer:
        wait_s = min(asked.wait_s, self._settings.sql_wait_s_max)
        deadline = clock.monotonic() + wait_s
        if not await self._views.reached(asked.sequence, wait_s=wait_s):
            return _refused(behind(self._views, asked.sequence, wait_s=wait_s))
        try:
            async with self._threads.one(wait_s=deadline - clock.monotonic()):
                connection = self._views.cursor()
                work = functools.partial(listed, connection, asked)
                return await self._threads.run(connection, work, until=clock.monotonic() + TIME_S)
        except AllTaken:
            return _refused(busy(wait_s))
        except query.TOLD as error:
            return _refused(query.reason(error, time_s=TIME_S))


def _refused(why: SqlAnswer) -> ListingAnswer:
    return ListingAnswer(sequence=why.sequence, error=why.error, code=why.code)
