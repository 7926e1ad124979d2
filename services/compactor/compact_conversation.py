"""One crossed budget, from the state of the line to the summary in the log."""

import asyncio

import msgspec
import stamina

from schemas import items
from schemas.http.checks import Fields
from services import ids
from services.compaction import Covered, NotCovered, Summary
from services.compaction.summarising import Summariser
from services.conversation import commands
from services.conversation.compaction import Plan, plan, size
from services.conversation.history import item_of
from services.conversation.refusals import CompactionSuperseded
from services.conversation.state import Conversation
from services.conversation.visible import visible
from services.journal.conversations import Conversations
from services.sealing import Sealer

_fields = msgspec.json.Decoder(Fields).decode

COMPACTIONS_MAX = 8
"""Conversations one process summarises at the same time."""
SUPERSEDED_MAX = 3
"""Times a summary is made anew because the line changed beneath it."""


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; ``reason`` says why nothing was stored, empty if something was."""

    reason: str = ""
    method: str = ""
    fallback: str = ""
    tokens_before: int = 0
    tokens_after: int = 0
    sequence: int = 0


class ConversationCompactor:
    """Makes windows of conversations smaller, over one log; one conversation once at a time."""

    def __init__(
        self,
        conversations: Conversations,
        summariser: Summariser,
        sealer: Sealer,
        *,
        shrink_share: float,
        model_name: str,
    ) -> None:
        """``model_name`` empty: that of the conversation's last turn."""
        self._conversations = conversations
        self._summariser = summariser
        self._sealer = sealer
        self._shrink_share = shrink_share
        self._model_name = model_name
        self._places = asyncio.Semaphore(COMPACTIONS_MAX)
        self._flights: dict[tuple[str, str], asyncio.Task[Compacted]] = {}

    async def compact(self, project: str, conversation_id: str) -> Compacted:
        """Answer a crossing that no compaction has answered yet; twice is safe.

        Turns go on meanwhile: what they add stays behind the summary. Raises `JournalUnavailable`
        or `CompactionSuperseded`.
        """
        key = (project, conversation_id)
        if (under_way := self._flights.get(key)) is not None:
            # It may have read the conversation before what this one is about.
            await asyncio.wait([under_way])
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._attempts(project, conversation_id))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key))
        return await asyncio.shield(flight)

    async def _attempts(self, project: str, conversation_id: str) -> Compacted:
        async for attempt in stamina.retry_context(
            on=CompactionSuperseded, attempts=SUPERSEDED_MAX, wait_initial=0.05
        ):
            with attempt:
                async with self._places:
                    return await self._compact(project, conversation_id)
        raise AssertionError("a retry context either returns or raises")

    async def _compact(self, project: str, conversation_id: str) -> Compacted:
        loaded = await self._conversations.load(project, conversation_id)
        state = loaded.state
        if not visible(state):
            # Nobody reads it any more, and nothing would be stored.
            return Compacted(reason="deleted")
        if not state.crossed:
            return Compacted(reason="answered")
        last = next(iter(state.turns.downwards(len(state.turns))), None)
        model_name = self._model_name or (last.model if last else "")
        planned = plan(
            state,
            tokens_budget=state.budget,
            shrink_share=self._shrink_share,
            seals_elsewhere=self._summariser.seals_elsewhere,
        )
        if planned is None:
            return Compacted(reason="nothing_to_cover")
        if planned.tokens_max <= 0:
            return Compacted(reason="no_gain", tokens_before=planned.tokens_before)
        covered = Covered(
            items=planned.items,
            sources=planned.sources,
            shown=planned.shown,
            carried=planned.carried,
            said=planned.kept,
            tokens_max=planned.tokens_max,
            tokens_wanted=planned.tokens_wanted,
            model_name=model_name,
            # Another model has nothing of these windows in its cache.
            parameters=_parameters(state) if last and last.model == model_name else {},
        )
        try:
            made = await self._summariser.summary(covered)
        except NotCovered as left:
            return Compacted(reason=left.reason, tokens_before=planned.tokens_before)
        return await self._stored(project, conversation_id, planned, made)

    async def _stored(
        self, project: str, conversation_id: str, planned: Plan, made: Summary
    ) -> Compacted:
        blob = made.sealed or self._sealer.seal(made.text)
        raw = items.compaction(ids.item_id("cmp"), blob)
        tokens_after = made.tokens + size((*made.said, *planned.recent))
        granted = await self._conversations.grant(
            project,
            conversation_id,
            commands.Compact(
                item=item_of(raw, made.tokens),
                summary=made.text,
                covered=planned.covered,
                kept=tuple(item.id for item in made.said),
                after=planned.after,
                removed=planned.removed,
                method=made.method,
                tokens_before=planned.tokens_before,
                tokens_after=tokens_after,
                fallback=made.fallback,
                covered_from=planned.covered_from,
                anchors_found=made.anchors_found,
                anchors_kept=made.anchors_kept,
            ),
            command_id=ids.unique(),
        )
        return Compacted(
            method=made.method,
            fallback=made.fallback,
            tokens_before=planned.tokens_before,
            tokens_after=tokens_after,
            sequence=granted.sequence,
        )


def _parameters(state: Conversation) -> Fields:
    """What windows of the line begin with: the parameters of the newest turn that was sent one."""
    for turn in state.turns.downwards(len(state.turns)):
        if turn.on_line:
            return _fields(turn.parameters)
    return {}
