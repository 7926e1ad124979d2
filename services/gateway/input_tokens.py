"""``POST /v1/responses/input_tokens``: the size of a turn that is not asked for (contract 5.4)."""

from starlette.requests import Request
from starlette.responses import Response

from schemas import ids as id_forms
from schemas import items as stored_items
from schemas.http import checks
from schemas.http.input_tokens import CountInputTokens, InputTokens, read_input_tokens
from services import ids
from services.conversation.decide import window_of
from services.conversation.history import Item, since_summary
from services.conversation.refusals import PreviousResponseUnknown
from services.conversation.tokens import TokenCounter, count_beside
from services.gateway import answers
from services.gateway.body_reader import BodyReader
from services.gateway.identify import project_of
from services.journal.conversations import Conversations
from services.journal.known_items import known_items
from services.model.intake import Intake


class InputTokensEndpoint:
    """Counts what a model would be sent; nothing is stored and no turn is in the way."""

    def __init__(
        self,
        conversations: Conversations,
        intake: Intake,
        counter: TokenCounter,
        *,
        reader: BodyReader,
        strict: bool,
    ) -> None:
        """``strict``: unknown parameters are refused."""
        self._conversations = conversations
        self._intake = intake
        self._counter = counter
        self._reader = reader
        self._strict = strict

    async def count(self, request: Request) -> Response:
        """POST /responses/input_tokens."""
        payload = await self._reader.read(request)
        asked = read_input_tokens(payload, strict=self._strict)
        project, conversation_id = project_of(request), _subject(asked)
        loaded = await self._conversations.load(project, conversation_id)
        items = await self._items(project, conversation_id, asked)
        before = window_of(
            loaded.state,
            items,
            conversation_id=conversation_id,
            on_line=asked.conversation is not None,
            parent=asked.previous_response_id,
        )
        alone = asked.conversation is None and asked.previous_response_id is None
        shown = since_summary(items) if alone else items
        tokens = sum(item.tokens for item in (*before, *shown))
        tokens += count_beside(asked.parameters, self._counter.of(asked.model or ""))
        return answers.json(InputTokens(input_tokens=tokens), sequence=loaded.sequence or None)

    async def _items(
        self, project: str, conversation_id: str, asked: CountInputTokens
    ) -> tuple[Item, ...]:
        given, intake = asked.input, self._intake.of(asked.model)
        if given is None:
            return ()
        mint = ids.minting_items(conversation_id)
        if checks.first_byte(given) == b'"':
            return intake.text(given, mint=mint)
        values, _ = stored_items.without_trigger(checks.array(given, "input"), "input")
        known = await known_items(
            self._conversations,
            project,
            stored_items.references(values, "input"),
            conversation_id=conversation_id,
        )
        return await intake.take(values, "input", mint=mint, known=known)


def _subject(asked: CountInputTokens) -> str:
    """The conversation whose history counts; a fresh one has none."""
    if asked.conversation is not None:
        return asked.conversation
    if asked.previous_response_id is None:
        return ids.conversation_id()
    conversation_id = id_forms.conversation_of(asked.previous_response_id)
    if conversation_id is None:
        raise PreviousResponseUnknown(asked.previous_response_id)
    return conversation_id
