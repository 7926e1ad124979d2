"""The baseline: the whole window is told again as one text, each time, by the same model.

What many clients do: no anchors, nothing kept as it was, nothing checked.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from services import clock
from services.bench.compaction.asking import told_by
from services.bench.compaction.cycles import Compacted, Plan
from services.bench.compaction.meter import Meter
from services.bench.compaction.scenes import Turn
from services.conversation.history import Item, item_of
from services.model import Model
from services.model.connect import model as connect_model
from services.model.intake import Intake
from services.model.rendering import SUMMARY_INTRODUCTION
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer, fresh_key

NAME = "naive"
INSTRUCTIONS = (
    "Summarise the conversation you are shown, the earlier summary in it included, for the "
    "assistant who will continue it without seeing it. Keep every fact that may be asked for "
    "again: names, numbers, identifiers, dates, paths, addresses, decisions."
)
_REQUEST = "Summarise the conversation above."

_encode = msgspec.json.Encoder().encode


class Naive:
    """A summary and the items since."""

    def __init__(self, model: Model, sealer: Sealer, *, model_name: str, budget: int) -> None:
        """``budget`` is in tokens of the window."""
        self.sealer = sealer
        self._model = model
        self._model_name = model_name
        self._budget = budget
        self._tokenizer = Tokenizer()
        self._intake = Intake(self._tokenizer, sealer)
        self._window: tuple[Item, ...] = ()

    async def say(self, part: Turn) -> Compacted | None:
        """As the protocol says."""
        self._window += self._intake.array([msgspec.Raw(_encode(item)) for item in part], "items")
        before = sum(item.tokens for item in self._window)
        if before <= self._budget:
            return None
        begun = clock.monotonic()
        told = await told_by(
            self._model,
            self._window,
            _REQUEST,
            instructions=INSTRUCTIONS,
            model_name=self._model_name,
        )
        summary = self._told_again(told)
        self._window = (summary,)
        return Compacted(
            window=self._window,
            method=NAME,
            tokens_before=before,
            tokens_after=summary.tokens,
            seconds=clock.monotonic() - begun,
        )

    def _told_again(self, told: str) -> Item:
        """The message our own summaries become as well."""
        part = {"type": "input_text", "text": SUMMARY_INTRODUCTION + told}
        message = {"type": "message", "id": NAME, "role": "developer", "content": [part]}
        return item_of(msgspec.Raw(_encode(message)), self._tokenizer.count_text(told))


@asynccontextmanager
async def remembering(plan: Plan, meter: Meter) -> AsyncIterator[Naive]:
    """The baseline, with a model that is counted."""
    sealer = Sealer(fresh_key())
    model = connect_model(msgspec.structs.replace(plan.model, model_url=meter.url), sealer)
    try:
        yield Naive(model, sealer, model_name=plan.model_name, budget=plan.tokens_budget)
    finally:
        await model.aclose()
