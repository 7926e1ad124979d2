"""``/v1/conversations`` and their items: commands to the log, answers from the fold."""

from collections.abc import Sequence
from itertools import islice

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from schemas import items as stored_items
from schemas.events import ConversationCreated, Event, ItemsAdded
from schemas.http import checks
from schemas.http import conversations as bodies
from schemas.repeats import Mark
from services import ids
from services.conversation import commands
from services.conversation.history import Item, read_items
from services.conversation.refusals import ConversationUnknown, ItemUnknown
from services.conversation.state import Conversation
from services.conversation.visible import visible
from services.erasure.erase import Eraser
from services.gateway import answers
from services.gateway.body_reader import BodyReader
from services.gateway.identify import project_of
from services.gateway.keys import key_of
from services.gateway.repeats import Repeats
from services.journal.conversations import Conversations, Granted, Loaded
from services.journal.known_items import known_items
from services.model.intake import Intake


class _Added(msgspec.Struct, frozen=True, kw_only=True):
    """Items that were added before; ``last``: none stand behind them at ``sequence``."""

    items: tuple[Item, ...]
    last: bool
    sequence: int


class ConversationEndpoints:
    """The eight operations of the contract's section 1.1."""

    def __init__(
        self,
        conversations: Conversations,
        intake: Intake,
        repeats: Repeats,
        *,
        reader: BodyReader,
        strict: bool,
        eraser: Eraser | None = None,
    ) -> None:
        """``strict``: unknown parameters are refused. With ``eraser``, to delete is to erase."""
        self._conversations = conversations
        self._intake = intake
        self._repeats = repeats
        self._reader = reader
        self._strict = strict
        self._eraser = eraser

    async def create(self, request: Request) -> Response:
        """POST /conversations."""
        payload = await self._body(request)
        metadata, raws = bodies.read_create(payload, strict=self._strict)
        made = Mark(id=ids.unique(), conversation_id=ids.conversation_id())
        project, repeated = project_of(request), False
        if (key := key_of(request)) is not None:
            made, repeated = await self._repeats.claim(request, project, payload, made, key=key)
        if repeated and (created := await self._created(request, made)) is not None:
            return created
        items = await self._items(request, made.conversation_id, raws)
        command = commands.CreateConversation(metadata=metadata, items=items)
        granted = await self._conversations.grant(
            project, made.conversation_id, command, command_id=made.id, fresh=not repeated
        )
        if repeated and (created := await self._created(request, made)) is not None:
            # The first may have come through only now, and been changed since.
            return created
        return _conversation(made.conversation_id, granted.state, granted.sequence)

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
        sequence = await self._deleted(request, conversation_id)
        return answers.json(bodies.ConversationDeleted(id=conversation_id), sequence=sequence)

    async def _deleted(self, request: Request, conversation_id: str) -> int:
        """The sequence at which a conversation is deleted, or erased."""
        project = project_of(request)
        try:
            granted = await self._grant(request, conversation_id, commands.DeleteConversation())
        except ConversationUnknown:
            if self._eraser is not None:
                # Whoever began it may have died.
                await self._eraser.finish(project, conversation_id)
            raise
        if self._eraser is None:
            return granted.sequence
        return (await self._eraser.erase(project, conversation_id)).sequence

    async def create_items(self, request: Request) -> Response:
        """POST /conversations/{id}/items."""
        conversation_id = _conversation_id(request)
        payload = await self._body(request)
        raws = bodies.read_items(payload, strict=self._strict)
        checks.include(request.query_params.multi_items())
        fresh = Mark(id=ids.unique(), conversation_id=conversation_id)
        project = project_of(request)
        key = key_of(request)
        if key is not None:
            mark, repeated = await self._repeats.claim(request, project, payload, fresh, key=key)
        else:
            mark, repeated = await self._repeats.recall(request, project, payload, fresh)
        if repeated and (added := await self._added(request, mark)) is not None:
            if key is not None or added.last:
                return answers.page(added.items, has_more=False, sequence=added.sequence)
            # The same again is more likely meant than repeated.
            mark, repeated = fresh, False
            await self._repeats.renew(request, project, payload, fresh)
        items = await self._items(request, conversation_id, raws)
        command = commands.AddItems(items=items)
        granted = await self._grant(request, conversation_id, command, command_id=mark.id)
        if repeated or key is not None:
            # An equal one may have come through only now, with ids of its own.
            items = await self._added_once(project, mark, granted) or items
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

    async def _created(self, request: Request, made: Mark) -> Response | None:
        """A conversation as it was created when this was asked before; none if it was not."""
        events = await self._conversations.granted(
            project_of(request), made.conversation_id, made.id
        )
        if events is None:
            return None
        loaded = await self._visible(request, made.conversation_id)
        (metadata,) = (each.metadata for each in events if isinstance(each, ConversationCreated))
        created = msgspec.structs.replace(loaded.state, metadata=metadata)
        return _conversation(made.conversation_id, created, loaded.sequence)

    async def _added(self, request: Request, mark: Mark) -> _Added | None:
        """What was added when this was asked before; none if nothing."""
        events = await self._conversations.granted(
            project_of(request), mark.conversation_id, mark.id
        )
        if events is None:
            return None
        items = _added_by(events)
        loaded = await self._visible(request, mark.conversation_id)
        last = bool(items) and loaded.state.position(items[-1].id) == len(loaded.state.line) - 1
        return _Added(items=items, last=last, sequence=loaded.sequence)

    async def _added_once(self, project: str, mark: Mark, granted: Granted) -> tuple[Item, ...]:
        """What a command has added, whoever of several with its id was granted it."""
        events = granted.events or await self._conversations.granted(
            project, mark.conversation_id, mark.id
        )
        return _added_by(events or ())

    async def _items(
        self, request: Request, conversation_id: str, raws: Sequence[msgspec.Raw]
    ) -> tuple[Item, ...]:
        """Stored forms of what was sent; what is only named is looked up."""
        named = stored_items.references(raws, "items")
        project = project_of(request)
        return await self._intake.take(
            raws,
            "items",
            mint=ids.minting_items(conversation_id),
            known=await known_items(
                self._conversations, project, named, conversation_id=conversation_id
            ),
        )

    async def _body(self, request: Request) -> bytes:
        return await self._reader.read(request)

    async def _grant(
        self,
        request: Request,
        conversation_id: str,
        command: commands.Command,
        *,
        command_id: str | None = None,
    ) -> Granted:
        return await self._conversations.grant(
            project_of(request), conversation_id, command, command_id=command_id or ids.unique()
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


def _added_by(events: tuple[Event, ...]) -> tuple[Item, ...]:
    return tuple(
        item
        for event in events
        if isinstance(event, ItemsAdded)
        for item in read_items(event.items, event.tokens)
    )
