"""From an admitted turn to the model's answer; what it says is told while it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import msgspec
import structlog

from schemas.http import checks
from schemas.http.responses import Usage
from services.conversation.budget import Policy
from services.conversation.commands import TurnSummary
from services.conversation.decide import before_input
from services.conversation.history import Item, Turn
from services.conversation.state import Conversation
from services.conversation.tokens import TokenCounter
from services.conversation.turn_compaction import context_of
from services.model import Answer, Call, Model, ModelRefused, ModelUnavailable
from services.responder.asked import Asked
from services.responder.compact_in_turn import TurnSummariser
from services.responder.fit_window import TOO_LONG, WindowFitter, truncated
from services.responder.relay import Relay
from services.responder.telling import Deltas, Telling

PROGRESS_S = 2.0
"""Time between two events that say a summary is still being made."""
TRUNCATED_SHARE = 0.25
"""Least share of a window's tokens that is left out at a time."""
TRUNCATIONS_MAX = 12
"""Times it is tried with less: what is left then is a thirtieth of the window."""

log = structlog.get_logger()

_fields = msgspec.json.Decoder(checks.Fields).decode
_encode = msgspec.json.Encoder().encode


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and what was summarised before it, whose item opens the turn's output."""

    answer: Answer
    summary: TurnSummary | None = None


class ModelAsker:
    """Asks one model."""

    def __init__(
        self, model: Model, summariser: TurnSummariser, policy: Policy, counter: TokenCounter
    ) -> None:
        """``policy`` says how long windows may be, which ``summariser`` makes smaller."""
        self._model = model
        self._summariser = summariser
        self._fitter = WindowFitter(summariser, policy, counter)

    async def ask(
        self, asked: Asked, state: Conversation, turn: Turn, relay: Relay, deltas: Deltas
    ) -> Answered:
        """The whole answer; raises `ModelRefused` or `ModelUnavailable`."""
        if not asked.request.generate:
            usage = msgspec.Raw(_encode(Usage()))
            answer = Answer(status="completed", items=(), usage=usage, model=turn.model)
            return Answered(answer=answer)
        telling = Telling(asked, turn, relay, deltas)
        history = before_input(state, on_line=turn.on_line, parent=turn.parent)
        if asked.summarised:
            budget = self._fitter.budget(asked, state, turn)
            async with _told_meanwhile(telling, item_id := relay.mint("cmp")):
                made = await self._summariser.whole(
                    context_of(state, turn, history),
                    turn,
                    state,
                    tokens_budget=budget,
                    new=item_id,
                )
            await telling.compacted(made.item)
            answer = Answer(status="completed", items=(), usage=made.usage, model=turn.model)
            await telling.flush()
            return Answered(answer=answer, summary=made.summary)
        fitted = await self._fitter.fitted(asked, state, turn, history, mint=relay.mint)
        if fitted.made is not None:
            await telling.compacted(fitted.made.item)
        answer = await self._fitting(asked, turn, fitted.window, telling)
        return Answered(answer=answer, summary=fitted.made.summary if fitted.made else None)

    async def _fitting(
        self, asked: Asked, turn: Turn, window: tuple[Item, ...], telling: Telling
    ) -> Answer:
        """The answer to a window; its oldest items are left out if the turn lets them go.

        How much a model takes is its server's to say, whatever is known of it here: it is asked
        again with less.
        """
        left = TRUNCATIONS_MAX if asked.create.truncation == "auto" else 0
        while True:
            call = Call(model=turn.model, items=window, parameters=_fields(turn.parameters))
            try:
                return await self._answer(call, telling)
            except ModelRefused as refused:
                tokens = int(sum(item.tokens for item in window) * TRUNCATED_SHARE)
                shorter = truncated(window, new=len(turn.shown), tokens=tokens)
                if refused.code != TOO_LONG or not left or shorter is None:
                    raise
                log.info("turn.truncated", response_id=turn.id, items=len(shorter))
                window, left = shorter, left - 1

    async def _answer(self, call: Call, telling: Telling) -> Answer:
        if not telling.streamed:
            return await self._model.complete(call)
        async with aclosing(self._model.stream(call)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    await telling.closed(event)
                    # What was said leaves before the log is made to sync its end.
                    await telling.flush()
                    return event
                await telling.event(event)
        raise ModelUnavailable("The model's answer broke off.")


@asynccontextmanager
async def _told_meanwhile(telling: Telling, item_id: str) -> AsyncIterator[None]:
    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            await telling.compacting(item_id)

    progress = asyncio.create_task(tell())
    try:
        yield
    finally:
        progress.cancel()
