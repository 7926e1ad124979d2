"""Answers of the read side that come in pieces, each sent when the one before was taken.

An answer that is not read to its end is given up by whoever makes it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas.queries import (
    KIND_HEADER,
    LAST,
    NONE,
    STANDS_HEADER,
    TRUNCATED_HEADER,
    WORKING,
    SqlAnswer,
)

SILENCE_S = 10.0
"""Seconds without a sign of life after which whoever answered is taken to be gone."""
_NO_RESPONDER = "503"
_STOP = b"stop"

_decode = msgspec.json.Decoder(SqlAnswer).decode


class NobodyAnswers(Exception):
    """No projector runs, or the one that did is gone; it may be asked again."""


class NoAnswer(Exception):
    """The projector says why there is none."""

    def __init__(self, answer: SqlAnswer) -> None:
        """``answer`` holds the reason, and its code."""
        self.answer = answer
        self.error = answer.error or ""
        super().__init__(self.error)


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer; ``kind`` is one of `schemas.queries`."""

    kind: str
    data: bytes
    sequence: int
    truncated: bool


async def pieces(client: Client, subject: str, question: bytes) -> AsyncGenerator[Piece, None]:
    """The answer's parts in their order; close it when nobody wants the rest.

    Raises `NoAnswer`, also after some of the parts, and `NobodyAnswers`.
    """
    inbox = client.new_inbox()
    # Not next_msg: before Python 3.12 it may go on when it is cancelled.
    told: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await client.subscribe(inbox, cb=told.put)
    untaken: Msg | None = None
    try:
        await client.publish(subject, question, reply=inbox)
        while True:
            async with asyncio.timeout(SILENCE_S):
                untaken = await told.get()
            headers = untaken.headers or {}
            if headers.get("Status") == _NO_RESPONDER:
                untaken = None
                raise NobodyAnswers("no projector runs")
            kind = headers.get(KIND_HEADER, NONE)
            if kind not in {WORKING, NONE}:
                yield Piece(
                    kind=kind,
                    data=untaken.data,
                    sequence=int(headers.get(STANDS_HEADER, 0)),
                    truncated=TRUNCATED_HEADER in headers,
                )
            taken, untaken = untaken, None
            await taken.respond(b"")
            if kind == NONE:
                raise NoAnswer(_decode(taken.data))
            if kind == LAST:
                return
    except (nats.errors.Error, TimeoutError) as error:
        raise NobodyAnswers("the projector does not answer any more") from error
    finally:
        if not client.is_closed:
            with suppress(nats.errors.Error):
                if untaken is not None:
                    await untaken.respond(_STOP)
                await subscription.unsubscribe()
