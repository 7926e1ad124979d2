"""The operations of the HTTP contract: one row each, read by `schemas.openapi`.

A row says what a client may send, what it gets, and what it is refused with. Bodies are named by
their component of the document.
"""

from collections.abc import Mapping

import msgspec

from schemas.http import beside
from schemas.http.beside import Parameter


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that an answer leads to, its parameters taken from request or answer."""

    operation: str
    parameters: Mapping[str, str]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A method of a path.

    ``body`` and ``answer`` are components; ``streams``: the answer may be server-sent events;
    ``arrow``: it may be an Arrow IPC stream; ``lines``: it is JSON lines; ``stands``: it says at
    which sequence of the log it stands. ``refusals``: statuses of error bodies, beside the faults
    that any operation may answer with.
    """

    id: str
    method: str
    path: str
    tag: str
    says: str
    more: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: str | None = None
    body_needed: bool = True
    answer: str
    streams: bool = False
    arrow: bool = False
    lines: bool = False
    stands: bool = True
    refusals: tuple[int, ...] = ()
    links: tuple[Link, ...] = ()

    def route(self) -> tuple[str, str]:
        """What tells it from every other operation."""
        return self.method, self.path


FAULTS = (500, 503)
"""Statuses any operation may answer with."""
BODY_FAULTS = (408, 429)
"""Statuses any operation may answer with that reads a body."""

_BAD, _ABSENT, _CONFLICT, _LARGE, _UNPROCESSABLE, _OFTEN = 400, 404, 409, 413, 422, 429
_OF_MODEL = (_BAD, _ABSENT, _CONFLICT, _LARGE, _UNPROCESSABLE, _OFTEN)
"""What a model may refuse with, passed on in its words."""

_CONVERSATIONS = "/v1/conversations"
_ITEMS = _CONVERSATIONS + "/{conversation_id}/items"
_HISTORIES = "/v1/turnlog/conversations/{conversation_id}"
_RESPONSES = "/v1/responses"

_TO_CONVERSATION = {"conversation_id": "$response.body#/id"}
_SAME_CONVERSATION = {"conversation_id": "$request.path.conversation_id"}
_TO_RESPONSE = {"response_id": "$response.body#/id"}
_TO_FIRST_ITEM = {**_SAME_CONVERSATION, "item_id": "$response.body#/first_id"}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="createConversation",
        method="POST",
        path=_CONVERSATIONS,
        tag="Conversations",
        says="Create a conversation.",
        body="CreateConversationRequest",
        body_needed=False,
        parameters=(beside.KEY,),
        answer="Conversation",
        refusals=(_BAD, _ABSENT, _CONFLICT, _LARGE),
        links=tuple(
            Link(operation=name, parameters=_TO_CONVERSATION)
            for name in (
                "getConversation",
                "updateConversation",
                "createConversationItems",
                "listConversationItems",
                "deleteConversation",
            )
        ),
    ),
    Operation(
        id="getConversation",
        method="GET",
        path=_CONVERSATIONS + "/{conversation_id}",
        tag="Conversations",
        says="Retrieve a conversation.",
        parameters=(beside.CONVERSATION, beside.AFTER),
        answer="Conversation",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="updateConversation",
        method="POST",
        path=_CONVERSATIONS + "/{conversation_id}",
        tag="Conversations",
        says="Replace the metadata of a conversation.",
        parameters=(beside.CONVERSATION,),
        body="UpdateConversationRequest",
        answer="Conversation",
        refusals=(_BAD, _ABSENT, _LARGE),
    ),
    Operation(
        id="deleteConversation",
        method="DELETE",
        path=_CONVERSATIONS + "/{conversation_id}",
        tag="Conversations",
        says="Delete a conversation.",
        more="It and its items can be retrieved no more; its history stays in the log.",
        parameters=(beside.CONVERSATION,),
        answer="ConversationDeleted",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="createConversationItems",
        method="POST",
        path=_ITEMS,
        tag="Items",
        says="Add items to a conversation.",
        more="All of them or none, in one commit; they are in the next window the model is sent.",
        parameters=(beside.CONVERSATION, beside.INCLUDE, beside.KEY),
        body="CreateItemsRequest",
        answer="ItemList",
        refusals=(_BAD, _ABSENT, _CONFLICT, _LARGE),
        links=tuple(
            Link(operation=name, parameters=_TO_FIRST_ITEM)
            for name in ("getConversationItem", "deleteConversationItem")
        ),
    ),
    Operation(
        id="listConversationItems",
        method="GET",
        path=_ITEMS,
        tag="Items",
        says="List the items of a conversation.",
        more="Page on with `after` set to `last_id` while `has_more`.",
        parameters=(beside.CONVERSATION, *beside.PAGE, beside.AFTER),
        answer="ItemList",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="getConversationItem",
        method="GET",
        path=_ITEMS + "/{item_id}",
        tag="Items",
        says="Retrieve an item.",
        parameters=(beside.CONVERSATION, beside.ITEM, beside.INCLUDE, beside.AFTER),
        answer="Item",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="deleteConversationItem",
        method="DELETE",
        path=_ITEMS + "/{item_id}",
        tag="Items",
        says="Delete an item from a conversation.",
        more="It is gone from the next window. Deleting a compaction undoes it.",
        parameters=(beside.CONVERSATION, beside.ITEM),
        answer="Conversation",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="getHistory",
        method="GET",
        path=_HISTORIES,
        tag="History",
        says="Retrieve a conversation as it was at a point of its history.",
        more="What was deleted is told as well: the log keeps it.",
        parameters=(beside.CONVERSATION, beside.AT, beside.AFTER),
        answer="ConversationThen",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="listHistoryEvents",
        method="GET",
        path=_HISTORIES + "/events",
        tag="History",
        says="List the commits of a conversation, byte for byte as they are stored.",
        more="Page on with `after` set to `last_sequence` while `has_more`.",
        parameters=(beside.CONVERSATION, *beside.COMMITS, beside.AFTER),
        answer="CommitList",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="getHistoryDiff",
        method="GET",
        path=_HISTORIES + "/diff",
        tag="History",
        says="Compare a conversation at two points of its history.",
        parameters=(beside.CONVERSATION, beside.FROM, beside.TO, beside.AFTER),
        answer="ConversationDiff",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="verifyHistory",
        method="GET",
        path=_HISTORIES + "/verify",
        tag="History",
        says="Check the log of a conversation for what was altered, removed, swapped or forged.",
        parameters=(beside.CONVERSATION, beside.AFTER),
        answer="Verification",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="exportHistory",
        method="GET",
        path=_HISTORIES + "/export",
        tag="History",
        says="Export a conversation for somebody outside to check.",
        more="An export without its last line is not whole.",
        parameters=(beside.CONVERSATION, beside.AFTER),
        answer="ExportLines",
        lines=True,
        stands=False,
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="forkConversation",
        method="POST",
        path=_HISTORIES + "/fork",
        tag="History",
        says="Begin a conversation as a copy of another at a point of its history.",
        more="Its next window is the one the other had. Turns that ran then are left out.",
        parameters=(beside.CONVERSATION, beside.AT),
        answer="ConversationFork",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="createResponse",
        method="POST",
        path=_RESPONSES,
        tag="Responses",
        says="Run a turn: send the model what it knows and new input, keep its answer.",
        more="Answers a Response, or with `stream` server-sent events. A turn that was admitted "
        "is finished and stored even if the client leaves.",
        parameters=(beside.OVERLAP, beside.KEY),
        body="CreateResponseRequest",
        answer="Response",
        streams=True,
        refusals=_OF_MODEL,
        links=tuple(
            Link(operation=name, parameters=_TO_RESPONSE)
            for name in ("getResponse", "listInputItems", "cancelResponse", "deleteResponse")
        ),
    ),
    Operation(
        id="getResponse",
        method="GET",
        path=_RESPONSES + "/{response_id}",
        tag="Responses",
        says="Retrieve a response, as it stands or as a stream of what it was and will be.",
        more="Only responses made with `background` and `stream` can be streamed again.",
        parameters=(
            beside.RESPONSE,
            beside.INCLUDE,
            *beside.REPLAY,
            beside.AFTER,
        ),
        answer="Response",
        streams=True,
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="deleteResponse",
        method="DELETE",
        path=_RESPONSES + "/{response_id}",
        tag="Responses",
        says="Delete a response; its items stay where they are.",
        parameters=(beside.RESPONSE,),
        answer="ResponseDeleted",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="cancelResponse",
        method="POST",
        path=_RESPONSES + "/{response_id}/cancel",
        tag="Responses",
        says="Cancel a background response; cancelled twice is cancelled once.",
        parameters=(beside.RESPONSE,),
        answer="Response",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="listInputItems",
        method="GET",
        path=_RESPONSES + "/{response_id}/input_items",
        tag="Responses",
        says="List what a response was asked with.",
        more="Page on with `after` set to the id of the last item while `has_more`.",
        parameters=(beside.RESPONSE, *beside.PAGE, beside.AFTER),
        answer="ItemList",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="compactResponse",
        method="POST",
        path=_RESPONSES + "/compact",
        tag="Responses",
        says="Compact a window: what is answered is the next input, whole.",
        body="CompactRequest",
        answer="CompactedResponse",
        stands=False,
        refusals=_OF_MODEL,
    ),
    Operation(
        id="countInputTokens",
        method="POST",
        path=_RESPONSES + "/input_tokens",
        tag="Responses",
        says="Count the tokens a turn would send the model; nothing is run or kept.",
        body="InputTokensRequest",
        body_needed=False,
        answer="InputTokens",
        refusals=(_BAD, _ABSENT, _LARGE),
    ),
    Operation(
        id="listConversations",
        method="GET",
        path="/v1/turnlog/conversations",
        tag="Views",
        says="List conversations that match.",
        more="Neither hidden nor deleted ones. Besides, `metadata.<key>=<value>`, any number of "
        "them. Other names are refused.",
        parameters=(*beside.LISTING, beside.AFTER),
        answer="ConversationList",
        refusals=(_BAD, _ABSENT),
    ),
    Operation(
        id="runSql",
        method="POST",
        path="/v1/turnlog/sql",
        tag="Views",
        says="Ask the views in SQL.",
        more="They hold the project of the key, or all, if it was made so. "
        "One read-only statement for DuckDB. An Arrow stream, with `Accept`, is as long as it "
        "is; if it was cut at `rows_max`, an empty batch with the custom metadata "
        "`Turnlog-Truncated` is its last. An answer that cannot be finished is broken off.",
        parameters=(beside.AFTER,),
        body="SqlRequest",
        answer="SqlRows",
        arrow=True,
        refusals=(_BAD, _LARGE),
    ),
    Operation(
        id="listModels",
        method="GET",
        path="/v1/models",
        tag="Models",
        says="List the models of the server behind this one.",
        answer="ModelList",
        stands=False,
        refusals=_OF_MODEL,
        links=(Link(operation="getModel", parameters={"model": "$response.body#/data/0/id"}),),
    ),
    Operation(
        id="getModel",
        method="GET",
        path="/v1/models/{model}",
        tag="Models",
        says="Retrieve a model of the server behind this one.",
        parameters=(beside.MODEL,),
        answer="Model",
        stands=False,
        refusals=_OF_MODEL,
    ),
    Operation(
        id="getHealth",
        method="GET",
        path="/healthz",
        tag="Server",
        says="Whether all four services can serve; 503 with the same body if one cannot.",
        answer="ServicesHealth",
        stands=False,
    ),
    Operation(
        id="getDocument",
        method="GET",
        path="/openapi.json",
        tag="Server",
        says="This document, its server relative to where it was found.",
        answer="Document",
        stands=False,
    ),
    Operation(
        id="getQueueDocument",
        method="GET",
        path="/docs/asyncapi",
        tag="Server",
        says="What is said on NATS and WebSockets, as an AsyncAPI 3.0 document.",
        answer="QueueDocument",
        stands=False,
    ),
)
