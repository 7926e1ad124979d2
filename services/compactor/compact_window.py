"""A window that a client asks to have made smaller: nothing of it is kept here."""

import msgspec
import structlog

from schemas import ids as id_forms
from schemas import items
from schemas.http import checks
from schemas.http.compact import CompactWindow
from schemas.http.errors import Overloaded
from schemas.http.responses import CompactedResponse
from services import clock, ids
from services.conversation import commands
from services.conversation.budget import Policy
from services.conversation.decide import admitted, model_of
from services.conversation.history import Item, since_summary
from services.conversation.refusals import PreviousResponseUnknown
from services.conversation.state import NEW, Conversation
from services.conversation.turn_compaction import Context, of_all, said_by_user
from services.journal.conversations import Conversations
from services.journal.known_items import known_items
from services.model import Model
from services.model.intake import Intake
from services.model.summary import opened, summarise
from services.sealing import Sealer

KEPT_TOKENS = 20_000
"""Tokens of the user's messages that stay as they are in front of the summary; newest first."""
KEPT_BYTES = 2 * 1024 * 1024
"""And their bytes, since pictures in them are no tokens to us; the answer is one message."""

log = structlog.get_logger()


class WindowCompactor:
    """Summarises with one model what clients bring, or what a log holds."""

    def __init__(
        self,
        conversations: Conversations,
        model: Model,
        intake: Intake,
        sealer: Sealer,
        *,
        policy: Policy,
        model_name: str,
    ) -> None:
        """``model_name`` serves requests that name none and follow no response."""
        self._conversations = conversations
        self._model = model
        self._intake = intake
        self._sealer = sealer
        self._policy = policy
        self._model_name = model_name

    async def compact(self, project: str, asked: CompactWindow) -> CompactedResponse:
        """The window to go on with: the user's messages, then a summary of everything.

        Raises `ApiError`, `ModelRefused`, `ModelUnavailable` or `JournalUnavailable`.
        """
        state = await self._state(project, asked.previous_response_id)
        given = await self._given(project, asked)
        question = self._question(asked, given)
        history = admitted(state, question, conversation_id="")
        if asked.previous_response_id is None:
            given = since_summary(given)
        model = model_of(state, question)
        budget = self._policy.of(project).budget(state.metadata, model=model)
        planned = of_all(Context(history=history, input=given), tokens_budget=budget)
        carried, untold = opened(planned.carried, planned.items, self._sealer)
        made = await summarise(
            self._model,
            untold,
            carried=carried,
            model_name=model,
            parameters=asked.parameters,
        )
        if not made.text:
            raise Overloaded("The model has not summarised what it was sent.")
        kept = said_by_user((*history, *given), tokens_max=KEPT_TOKENS, bytes_max=KEPT_BYTES)
        item = items.compaction(ids.item_id("cmp"), self._sealer.seal(made.text))
        log.info(
            "window.compacted",
            items=len(untold),
            kept=len(kept),
            tokens_before=planned.tokens_before,
            tokens_after=sum(each.tokens for each in (*kept, *self._intake.output([item]))),
        )
        return CompactedResponse(
            id=ids.response_id(ids.conversation_id()),
            created_at=int(clock.now().timestamp()),
            output=(*(each.raw for each in kept), item),
            usage=made.usage,
        )

    async def _state(self, project: str, previous: str | None) -> Conversation:
        if previous is None:
            return NEW
        conversation_id = id_forms.conversation_of(previous)
        if conversation_id is None:
            raise PreviousResponseUnknown(previous)
        return (await self._conversations.load(project, conversation_id)).state

    async def _given(self, project: str, asked: CompactWindow) -> tuple[Item, ...]:
        if asked.input is None:
            return ()
        if checks.first_byte(asked.input) == b'"':
            return self._intake.text(asked.input)
        values = checks.array(asked.input, "input")
        followed = asked.previous_response_id
        place = id_forms.conversation_of(followed) if followed is not None else None
        known = await known_items(
            self._conversations,
            project,
            items.references(values, "input"),
            conversation_id=place or ids.conversation_id(),
        )
        return await self._intake.take(values, "input", known=known)

    def _question(self, asked: CompactWindow, given: tuple[Item, ...]) -> commands.RequestTurn:
        """What a turn would be asked with that wants nothing but this summary."""
        name = asked.model
        if name is None and asked.previous_response_id is None:
            if not self._model_name:
                raise checks.missing("model")
            name = self._model_name
        return commands.RequestTurn(
            response_id="",
            model=name,
            items=given,
            parameters=msgspec.Raw(b"{}"),
            on_line=False,
            parent=asked.previous_response_id,
            store=False,
            summarised=True,
        )
