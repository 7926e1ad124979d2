"""A window made smaller within its turn, before the model answers or instead of it."""

import msgspec
import structlog

from schemas import items as stored
from schemas.http.checks import Fields
from services.conversation.commands import TurnSummary
from services.conversation.history import Item, Turn
from services.conversation.state import Conversation
from services.conversation.turn_compaction import (
    Context,
    TurnPlan,
    before_answer,
    of_all,
    recorded,
)
from services.model import Model, ModelRefused, ModelUnavailable
from services.model.intake import Intake
from services.model.summary import opened, summarise
from services.sealing import Sealer

_PASSED_ON = ("prompt_cache_key", "safety_identifier", "service_tier", "user")
"""Parameters of a turn that are about who pays, and hold for its summary as well."""

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
    """Summarises contexts of turns with their own model."""

    def __init__(self, model: Model, intake: Intake, sealer: Sealer) -> None:
        """``model`` answers turns as well."""
        self._model = model
        self._intake = intake
        self._sealer = sealer

    async def shortened(
        self, context: Context, turn: Turn, state: Conversation, *, threshold: int, new: str
    ) -> Made | None:
        """A smaller context, in an item with the id ``new``; none if it stays as it is.

        ``threshold`` is the size above which it is to be smaller; 0: never. Never raises for its
        own sake: the model may still answer what it would not summarise.
        """
        if not 0 < threshold < context.tokens:
            return None
        line = log.bind(response_id=turn.id, tokens=context.tokens, threshold=threshold)
        planned = before_answer(context, threshold=threshold)
        if planned is None:
            line.info("turn.not_compacted", reason="nothing_to_cover")
            return None
        try:
            made = await self._made(planned, turn, state, new=new)
        except (ModelRefused, ModelUnavailable) as error:
            line.warning("turn.not_compacted", reason=type(error).__name__)
            return None
        if made is None or not planned.shrinks(made.item.tokens):
            line.warning("turn.not_compacted", reason="no_gain")
            return None
        line.info(
            "turn.compacted",
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
        planned = of_all(context, tokens_budget=tokens_budget)
        made = await self._made(planned, turn, state, new=new)
        if made is None:
            raise ModelUnavailable("The model has not summarised what it was sent.")
        return made

    async def _made(
        self, planned: TurnPlan, turn: Turn, state: Conversation, *, new: str
    ) -> Made | None:
        carried, items = opened(planned.carried, planned.items, self._sealer)
        given = _fields(turn.parameters)
        made = await summarise(
            self._model,
            items,
            carried=carried,
            model_name=turn.model,
            parameters={name: given[name] for name in _PASSED_ON if name in given},
        )
        if not made.text:
            return None
        (item,) = self._intake.output([stored.compaction(new, self._sealer.seal(made.text))])
        return Made(
            item=item,
            window=(item, *planned.kept, *planned.input),
            summary=recorded(planned, item, summary=made.text, turn=turn, state=state),
            usage=made.usage,
        )
