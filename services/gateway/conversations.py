"""``/v1/conversations`` and their items: commands to the log, answers from the fold."""

from collections.abc import Sequence
from itertools import islice

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from schemas import items as stored_items
from schemas.http import checks
from schemas.http import conversations as bodies
from services import ids
from services.conversation import commands
from services.conversation.decide import visible
from services.conversation.history import Item
from services.conversation.refusals import ConversationUnknown, ItemUnknown
from services.conversation.state import Conversation
from services.gateway import answers
from services.gateway.identify import project_of
from services.journal.conversations import Conversations, Granted, Loaded
from services.journal.known_items import known_items
from services.model.intake import Intake


class ConversationEndpoints:
    """The eight operations of the contract's section 1.1."""

    def __init__(
        self, conversations: Conversations, intake: Intake, *, body_bytes_max: int, strict: bool
    ) -> None:
        """``body_bytes_max`` bounds every body read; ``strict``: unknown parameters are refused."""
        self._conversations = conversations
        self._intake = intake
        self._body_bytes_max = body_bytes_max
        self._strict = strict

    async def create(self, request: Request) -> Response:
        """POST /conversations."""
        metadata, raws = bodies.read_create(await self._body(request), strict=self._strict)
        conversation_id = ids.conversation_id()
        items = await self._items(request, conversation_id, raws)
        command = commands.CreateConversation(metadata=metadata, items=items)
        granted = await self._conversations.grant(
            project_of(request), conversation_id, command, command_id=ids.unique(), fresh=True
        )
        return _conversation(conversation_id, granted.state, granted.sequence)

    async def retrieve(self, request: Request) -> Response:
        """GET /conversations/{id}."""
        conversation_id = _conversation_id(request)
        loaded = await self._visible(request, conversation_id)
        return _conversation(conversation_id, loaded.state, loaded.sequence)

    async def update(self, request: Request) -> Response:
        """POST /conversations/{id}."""
        conversation_id = _conversation_id(request)
        metadata = bodies.read_update(await self._body(request), strict=self._strict)
        granted = await self._grant(
            request, conversation_id, commands.UpdateConversation(metadata=metadata)
        )
        return _conversation(conversation_id, granted.state, granted.sequence)

    async def delete(self, request: Request) -> Response:
        """DELETE /conversations/{id}."""
        conversation_id = _conversation_id(request)
        granted = await self._grant(request, conversation_id, commands.DeleteConversation())
        return answers.json(
            bodies.ConversationDeleted(id=conversation_id), sequence=granted.sequence
        )

    async def create_items(self, request: Request) -> Response:
        """POST /conversations/{id}/items."""
        conversation_id = _conversation_id(request)
        raws = bodies.read_items(await self._body(request), strict=self._strict)
        checks.include(request.query_params.multi_items())
        items = await self._items(request, conversation_id, raws)
        granted = await self._grant(request, conversation_id, commands.AddItems(items=items))
        return answers.page(items, has_more=False, sequence=granted.sequence)

    async def list_items(self, request: Request) -> Response:
        """GET /conversations/{id}/items."""
        conversation_id = _conversation_id(request)
        query = request.query_params.multi_items()
        limit, order, after = checks.page(query)
        checks.include(query)
        loaded = await self._visible(request, conversation_id)
        items = _listed(loaded.state, limit + 1, order, after)
        return answers.page(items[:limit], has_more=len(items) > limit, sequence=loaded.sequence)

    async def retrieve_item(self, request: Request) -> Response:
        """GET /conversations/{id}/items/{item_id}."""
        conversation_id, item_id = _conversation_id(request), answers.path_id(request, "item_id")
        checks.include(request.query_params.multi_items())
        loaded = await self._visible(request, conversation_id)
        item = loaded.state.item(item_id)
        if item is None:
            raise ItemUnknown(item_id)
        return answers.raw(bytes(item.raw), sequence=loaded.sequence)

    async def delete_item(self, request: Request) -> Response:
        """DELETE /conversations/{id}/items/{item_id}."""
        conversation_id, item_id = _conversation_id(request), answers.path_id(request, "item_id")
        granted = await self._grant(request, conversation_id, commands.DeleteItem(item_id=item_id))
        return _conversation(conversation_id, granted.state, granted.sequence)

    async def _items(
        self, request: Request, conversation_id: str, raws: Sequence[msgspec.Raw]
    ) -> tuple[Item, ...]:
        """Stored forms of what was sent; what is only named is looked up."""
        named = stored_items.references(raws, "items")
        project = project_of(request)
        return self._intake.array(
            raws,
            "items",
            mint=ids.minting_items(conversation_id),
            known=await known_items(
                self._conversations, project, named, conversation_id=conversation_id
            ),
        )

    async def _body(self, request: Request) -> bytes:
        return await answers.read_body(request, bytes_max=self._body_bytes_max)

    async def _grant(
        self, request: Request, conversation_id: str, command: commands.Command
    ) -> Granted:
        return await self._conversations.grant(
            project_of(request), conversation_id, command, command_id=ids.unique()
        )

    async def _visible(self, request: Request, conversation_id: str) -> Loaded:
        loaded = await self._conversations.load(project_of(request), conversation_id)
        if not visible(loaded.state):
            raise ConversationUnknown(conversation_id)
        return loaded


def _conversation_id(request: Request) -> str:
    return checks.named(answers.path_id(request, "conversation_id"), "conv", "conversation_id")


def _conversation(conversation_id: str, state: Conversation, sequence: int) -> Response:
    assert state.created_at is not None
    body = bodies.Conversation(
        id=conversation_id,
        created_at=int(state.created_at.timestamp()),
        metadata=state.metadata,
    )
    return answers.json(body, sequence=sequence)


def _listed(state: Conversation, limit: int, order: str, after: str | None) -> tuple[Item, ...]:
    descending = order == "desc"
    start = len(state.line) - 1 if descending else 0
    if after is not None:
        position = state.position(after)
        if position is None:
            raise ItemUnknown(after)
        start = position - 1 if descending else position + 1
    return tuple(islice(state.listed(start, descending=descending), limit))
