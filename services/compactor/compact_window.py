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
from services.compaction import Covered, NotCovered
from services.compaction.summarising import Summariser
from services.conversation import commands
from services.conversation.budget import Policy
from services.conversation.compaction import SAID_BYTES, SAID_TOKENS, said_by_user
from services.conversation.decide import admitted, model_of
from services.conversation.history import Item, since_summary
from services.conversation.refusals import PreviousResponseUnknown
from services.conversation.state import NEW, Conversation
from services.conversation.turn_compaction import Context, of_all
from services.journal.conversations import Conversations
from services.journal.known_items import known_items
from services.model.intake import Intake
from services.sealing import Sealer

log = structlog.get_logger()


class WindowCompactor:
    """Summarises what clients bring, or what a log holds."""

    def __init__(
        self,
        conversations: Conversations,
        summariser: Summariser,
        intake: Intake,
        sealer: Sealer,
        *,
        policy: Policy,
        shrink_share: float,
        model_name: str,
    ) -> None:
        """``model_name`` serves requests that name none and follow no response."""
        self._conversations = conversations
        self._summariser = summariser
        self._intake = intake
        self._sealer = sealer
        self._policy = policy
        self._shrink_share = shrink_share
        self._model_name = model_name

    async def compact(self, project: str, asked: CompactWindow) -> CompactedResponse:
        """The window to go on with: the user's messages, then a summary of everything.

        Raises `ApiError`, `ModelRefused` or `JournalUnavailable`.
        """
        state = await self._state(project, asked.previous_response_id)
        given = await self._given(project, asked)
        question = self._question(asked, given)
        history = admitted(state, question, conversation_id="")
        if asked.previous_response_id is None:
            given = since_summary(given)
        model = model_of(state, question)
        planned = of_all(
            Context(history=history, input=given),
            tokens_budget=self._policy.of(project).budget(state.metadata, model=model),
            shrink_share=self._shrink_share,
        )
        if self._summariser.seals_elsewhere:
            planned = planned.anew()
        said = said_by_user((*history, *given), tokens_max=SAID_TOKENS, bytes_max=SAID_BYTES)
        carried, untold = await self._summariser.opener.carried(planned.carried, planned.items)
        covered = Covered(
            items=untold,
            shown=planned.shown,
            carried=carried,
            said=said,
            tokens_max=planned.tokens_max,
            tokens_wanted=planned.tokens_wanted,
            model_name=model,
            parameters=asked.parameters,
        )
        try:
            made = await self._summariser.summary(covered, refusals_told=True)
        except NotCovered as left:
            raise Overloaded("The model has not summarised what it was sent.") from left
        kept = made.said
        blob = made.sealed or self._sealer.seal(made.text)
        item = items.compaction(ids.item_id("cmp"), blob)
        log.info(
            "window.compacted",
            items=len(untold),
            method=made.method,
            fallback=made.fallback,
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
