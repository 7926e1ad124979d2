"""Cycles of compaction: a conversation is told to a memory, and after each the facts are sought.

Nothing is said while a memory compacts, so that the same seed gives the same cycles.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import msgspec

from services.bench.compaction.asking import answered, in_window, is_sealed
from services.bench.compaction.facts import Fact
from services.bench.compaction.meter import Meter
from services.bench.compaction.scenes import Turn
from services.bench.compaction.talks import Talk
from services.conversation.history import Item
from services.model.connect import model as connect_model
from services.sealing import Sealer
from services.settings import ModelSettings

ITEMS_MAX = 20
"""Items of one call of ``items.create``, which is what the API takes."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What every memory is put through; ``asks``: the model is asked for the facts as well."""

    talk: Talk
    cycles: int
    tokens_budget: int
    model: ModelSettings
    model_name: str
    asks: bool = False

    def told(self) -> Iterator[tuple[int, int, Turn]]:
        """What is said at once, each with the number of its turn and of items up to then."""
        items = 0
        for number, turn in enumerate(self.talk.turns, 1):
            for start in range(0, len(turn), ITEMS_MAX):
                part = turn[start : start + ITEMS_MAX]
                items += len(part)
                yield number, items, part


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """A window right after a compaction, and how that was made; ``fallback``: why not as chosen."""

    window: tuple[Item, ...]
    method: str
    tokens_before: int
    tokens_after: int
    seconds: float
    fallback: str = ""


class Memory(Protocol):
    """What keeps a conversation within its budget."""

    @property
    def sealer(self) -> Sealer:
        """Opens its windows."""
        ...

    async def say(self, part: Turn) -> Compacted | None:
        """Add items; what came of it if they were too many. Raises `BenchFailed`."""
        ...


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """One compaction, after ``turns`` turns and ``items`` items.

    ``facts`` is how many had been told by then, ``lost`` those that are gone from the window.
    A window with a summary that only the model's server can read is ``sealed``: whether it holds a
    fact cannot be seen, only asked. ``fallback`` is why ``method`` is not the one that was chosen,
    empty if it is. ``asked`` is the share of the facts the model still tells, if it was asked.
    """

    number: int
    turns: int
    items: int
    facts: int
    lost: tuple[str, ...]
    sealed: bool
    method: str
    fallback: str
    tokens_before: int
    tokens_after: int
    calls: int
    input_tokens: int
    output_tokens: int
    seconds: float
    asked: float | None = None

    @property
    def recall(self) -> float | None:
        """Share of the facts told so far that the window holds; none if it cannot be seen."""
        if self.sealed:
            return None
        return 1 - len(self.lost) / self.facts if self.facts else 1.0


async def cycles(plan: Plan, memory: Memory, meter: Meter) -> AsyncIterator[Cycle]:
    """As many as were asked for, or as the conversation is long enough for."""
    number, spent = 0, meter.spent
    for turns, items, part in plan.told():
        made = await memory.say(part)
        if made is None:
            continue
        number += 1
        used, spent = meter.spent.since(spent), meter.spent
        facts = tuple(fact for fact in plan.talk.facts if fact.turn <= turns)
        known = {fact.id for fact in await in_window(facts, made.window, memory.sealer)}
        yield Cycle(
            number=number,
            turns=turns,
            items=items,
            facts=len(facts),
            lost=tuple(fact.id for fact in facts if fact.id not in known),
            sealed=await is_sealed(made.window, memory.sealer),
            method=made.method,
            fallback=made.fallback,
            tokens_before=made.tokens_before,
            tokens_after=made.tokens_after,
            calls=used.calls,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            seconds=round(made.seconds, 3),
            asked=await _asked(plan, facts, made, memory) if plan.asks else None,
        )
        if number == plan.cycles:
            return


async def _asked(plan: Plan, facts: tuple[Fact, ...], made: Compacted, memory: Memory) -> float:
    # Not through the meter: what we ask is no cost of the compaction.
    model = connect_model(plan.model, memory.sealer)
    try:
        told = await answered(facts, made.window, model, model_name=plan.model_name)
    finally:
        await model.aclose()
    return len(told) / len(facts) if facts else 1.0
