"""One crossed budget, from the state of the line to the summary in the log."""

import msgspec
import stamina

from schemas import items
from services import ids
from services.conversation import commands
from services.conversation.budget import last_model
from services.conversation.compaction import METHOD, plan
from services.conversation.history import item_of
from services.conversation.refusals import CompactionSuperseded
from services.conversation.tokens import TokenCounter
from services.journal.conversations import Conversations
from services.model import Model
from services.model.summary import summarise
from services.sealing import Sealer

SUPERSEDED_MAX = 3
"""Times a summary is made anew because the line changed beneath it."""


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; ``reason`` says why nothing was stored, empty if something was."""

    reason: str = ""
    tokens_before: int = 0
    tokens_after: int = 0
    sequence: int = 0


class ConversationCompactor:
    """Summarises with one model, over one log."""

    def __init__(
        self,
        conversations: Conversations,
        model: Model,
        counter: TokenCounter,
        sealer: Sealer,
        *,
        model_name: str,
    ) -> None:
        """``model_name`` empty: that of the conversation's last turn."""
        self._conversations = conversations
        self._model = model
        self._counter = counter
        self._sealer = sealer
        self._model_name = model_name

    async def compact(self, project: str, conversation_id: str) -> Compacted:
        """Answer a crossing that no compaction has answered yet; twice is safe.

        Turns go on meanwhile: what they add stays behind the summary. Raises `ModelUnavailable`,
        `ModelRefused`, `JournalUnavailable` or `CompactionSuperseded`.
        """
        async for attempt in stamina.retry_context(
            on=CompactionSuperseded, attempts=SUPERSEDED_MAX, wait_initial=0.05
        ):
            with attempt:
                return await self._compact(project, conversation_id)
        raise AssertionError("a retry context either returns or raises")

    async def _compact(self, project: str, conversation_id: str) -> Compacted:
        loaded = await self._conversations.load(project, conversation_id)
        state = loaded.state
        if not state.crossed:
            return Compacted(reason="answered")
        model_name = self._model_name or last_model(state)
        if not model_name:
            return Compacted(reason="no_model")
        planned = plan(state, tokens_budget=state.budget)
        if planned is None:
            return Compacted(reason="nothing_to_cover")
        made = await summarise(
            self._model, planned.items, carried=planned.carried, model_name=model_name
        )
        tokens = self._counter.count_text(made.text)
        if not made.text or not planned.shrinks(tokens):
            return Compacted(reason="no_gain", tokens_before=planned.tokens_before)
        raw = items.compaction(ids.item_id("cmp"), self._sealer.seal(made.text))
        granted = await self._conversations.grant(
            project,
            conversation_id,
            commands.Compact(
                item=item_of(raw, tokens),
                summary=made.text,
                covered=planned.covered,
                kept=(),
                after=planned.after,
                removed=planned.removed,
                method=METHOD,
                tokens_before=planned.tokens_before,
                tokens_after=tokens + planned.tokens_kept,
            ),
            command_id=ids.unique(),
        )
        return Compacted(
            tokens_before=planned.tokens_before,
            tokens_after=tokens + planned.tokens_kept,
            sequence=granted.sequence,
        )
