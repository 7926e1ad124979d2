"""``POST /v1/turnlog/sql``: a statement for the views, its answer copied through as it comes."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import structlog
from nats.aio.client import Client
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schemas import queries, subjects
from schemas.http import sql as body
from schemas.http.errors import ApiError, Invalid, Overloaded, ServerFault
from services.gateway import answers
from services.gateway.after import WAIT_S, after_sequence
from services.gateway.body_reader import BodyReader
from services.gateway.identify import caller_of
from services.journal.pieces import NoAnswer, NobodyAnswers, Piece, pieces

_JSON = "application/json"
_encode = msgspec.json.Encoder().encode

log = structlog.get_logger()


class SqlEndpoint:
    """For administrators: of their own project, unless their key is for all of them."""

    def __init__(self, client: Client, reader: BodyReader) -> None:
        """``client`` is the gateway's connection."""
        self._client = client
        self._reader = reader

    async def run(self, request: Request) -> Response:
        """POST /turnlog/sql."""
        caller = caller_of(request.scope)
        asked = body.read_sql(await self._reader.read(request))
        arrow = body.ARROW in request.headers.get("accept", "")
        rows_max = asked.rows_max if arrow or asked.rows_max is not None else body.ROWS
        question = queries.Sql(
            statement=asked.statement,
            project=None if caller.all_projects else caller.project,
            sequence=max(asked.sequence, after_sequence(request)),
            wait_s=WAIT_S,
            time_s_max=asked.time_s_max,
            rows_max=rows_max,
            pieces=True,
            form="arrow" if arrow else "json",
        )
        told = pieces(self._client, subjects.ask("sql"), _encode(question))
        return PieceStream(told, media_type=body.ARROW if arrow else _JSON)


class PieceStream(Response):
    """An answer that is made while it is taken, and given up when its client leaves."""

    def __init__(self, told: AsyncGenerator[Piece, None], *, media_type: str) -> None:
        """``told`` is asked for, and closed, when this is sent."""
        self._told = told
        self.media_type = media_type
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; an error that comes first is answered as plain HTTP."""
        copying = asyncio.create_task(self._copy(scope, receive, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({copying, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not copying.done():
                copying.cancel()
            await asyncio.gather(copying, leaving, return_exceptions=True)
        if not copying.cancelled():
            copying.result()

    async def _copy(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        try:
            async for piece in self._told:
                if not begun:
                    begun = True
                    head = answers.raw(b"", sequence=piece.sequence)
                    head.headers["content-type"] = self.media_type or _JSON
                    del head.headers["content-length"]
                    await send(
                        {
                            "type": "http.response.start",
                            "status": 200,
                            "headers": head.raw_headers,
                        }
                    )
                last = piece.kind == queries.LAST
                await send(
                    {"type": "http.response.body", "body": piece.data, "more_body": not last}
                )
        except (NoAnswer, NobodyAnswers) as error:
            refused = refusal(error)
            if begun:
                # An answer that is not ended is one that clients know to be incomplete.
                log.warning("answer.broken_off", code=refused.code)
                return
            answer = await answers.on_fault(Request(scope), refused)
            await answer(scope, receive, send)
        finally:
            await self._told.aclose()


async def _left(receive: Receive) -> None:
    """Return when the client has."""
    while (await receive())["type"] != "http.disconnect":
        pass


def refusal(error: NoAnswer | NobodyAnswers) -> ApiError:
    """What a client is told when the read side has no answer."""
    if isinstance(error, NobodyAnswers):
        return Overloaded(f"The views cannot be asked: {error}. Please retry.")
    told = f"{error.error[:1].upper()}{error.error[1:]}."
    match error.answer.code:
        case queries.REFUSED | queries.FAILED | queries.TIMED_OUT | queries.OUT_OF_MEMORY:
            return Invalid(told, param="statement", code=error.answer.code)
        case queries.BEHIND | queries.BUSY:
            return Overloaded(told)
        case _:
            return ServerFault("The projector had an error while it ran the statement.")
