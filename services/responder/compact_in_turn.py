"""A window made smaller within its turn, before the model answers or instead of it."""

import msgspec
import structlog

from schemas import items as stored
from schemas.http.checks import Fields
from services.compaction import Covered, NotCovered
from services.compaction.summarising import Summariser
from services.conversation.commands import TurnSummary
from services.conversation.history import Item, Turn
from services.conversation.state import Conversation
from services.conversation.turn_compaction import (
    Context,
    TurnPlan,
    before_answer,
    of_all,
    once_said,
    recorded,
)
from services.model import ModelUnavailable
from services.model.intake import Intake
from services.sealing import Sealer

log = structlog.get_logger()

_fields = msgspec.json.Decoder(Fields).decode


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A summary as the item that holds it, and what the model is sent in place of the context.

    ``summary`` is for the log; ``usage`` is the provider's count of making it.
    """

    item: Item
    window: tuple[Item, ...]
    summary: TurnSummary
    usage: msgspec.Raw


class TurnSummariser:
    """Makes contexts of turns smaller."""

    def __init__(
        self,
        summariser: Summariser,
        intake: Intake,
        sealer: Sealer,
        *,
        shrink_share: float,
    ) -> None:
        """``shrink_share`` is what a context must lose to be made smaller at all."""
        self._summariser = summariser
        self._intake = intake
        self._sealer = sealer
        self._shrink_share = shrink_share

    async def shortened(
        self, context: Context, turn: Turn, state: Conversation, *, threshold: int, new: str
    ) -> Made | None:
        """A smaller context, in an item with the id ``new``; none if it stays as it is.

        ``threshold`` is the size above which it is to be smaller; 0: never. Never raises for its
        own sake: the model may still answer what could not be made smaller.
        """
        if not 0 < threshold < context.tokens:
            return None
        line = log.bind(response_id=turn.id, tokens=context.tokens, threshold=threshold)
        planned = before_answer(context, threshold=threshold, shrink_share=self._shrink_share)
        if planned is None:
            line.info("turn.not_compacted", reason="nothing_to_cover")
            return None
        if planned.tokens_max <= 0:
            line.info("turn.not_compacted", reason="no_gain")
            return None
        try:
            # A client that alone holds its context is told of no item beside a summary.
            made = await self._made(planned, turn, state, new=new, beside=bool(context.history))
        except NotCovered as left:
            line.warning("turn.not_compacted", reason=left.reason)
            return None
        line.info(
            "turn.compacted",
            method=made.summary.method,
            fallback=made.summary.fallback,
            tokens_before=made.summary.tokens_before,
            tokens_after=made.summary.tokens_after,
        )
        return made

    async def whole(
        self, context: Context, turn: Turn, state: Conversation, *, tokens_budget: int, new: str
    ) -> Made:
        """All of a context in an item with the id ``new``, which was asked for.

        Raises `ModelRefused` or `ModelUnavailable`.
        """
        planned = of_all(context, tokens_budget=tokens_budget, shrink_share=self._shrink_share)
        try:
            return await self._made(planned, turn, state, new=new, asked_for=True, beside=False)
        except NotCovered as left:
            raise ModelUnavailable("The model has not summarised what it was sent.") from left

    async def _made(
        self,
        planned: TurnPlan,
        turn: Turn,
        state: Conversation,
        *,
        new: str,
        beside: bool,
        asked_for: bool = False,
    ) -> Made:
        if self._summariser.seals_elsewhere and beside:
            planned = planned.anew()
        carried, items = await self._summariser.opener.carried(planned.carried, planned.items)
        if not carried:
            planned = msgspec.structs.replace(planned, carried=None)
        made = await self._summariser.summary(
            Covered(
                items=items,
                sources=once_said(planned, turn=turn, state=state),
                shown=planned.shown,
                carried=carried,
                said=planned.said if beside else None,
                tokens_max=planned.tokens_max,
                tokens_wanted=planned.tokens_wanted,
                model_name=turn.model,
                parameters=_fields(turn.parameters),
            ),
            refusals_told=asked_for,
        )
        blob = made.sealed or self._sealer.seal(made.text)
        (item,) = self._intake.output([stored.compaction(new, blob)])
        if made.sealed:
            item = msgspec.structs.replace(item, tokens=made.tokens)
        planned = msgspec.structs.replace(planned, said=made.said)
        told = recorded(
            planned, item, turn=turn, state=state, summary=made.text, method=made.method
        )
        return Made(
            item=item,
            window=(item, *planned.said, *planned.kept, *planned.input),
            summary=msgspec.structs.replace(
                told,
                fallback=made.fallback,
                anchors_found=made.anchors_found,
                anchors_kept=made.anchors_kept,
            ),
            usage=made.usage,
        )
