"""What clients are answered: the shapes of every body that is not a stream."""

import msgspec

from schemas import shapes
from schemas.http import checks, history
from schemas.http.conversations import Conversation, ConversationDeleted, ItemList
from schemas.http.errors import ErrorBody
from schemas.http.health import ServicesHealth
from schemas.http.input_tokens import InputTokens
from schemas.http.listing import ConversationList, ConversationListed
from schemas.http.parameter_shapes import shape
from schemas.http.parameters import CREATE
from schemas.http.responses import CompactedResponse, Response, ResponseDeleted, Usage
from schemas.http.sql import SqlRows
from schemas.shapes import Shape

STATUSES = ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
"""What a response may be (contract 1.5)."""

_ITEMS = shapes.array(shapes.ref("Item"))
_OWN: dict[str, Shape] = {
    "status": shapes.one_of(STATUSES),
    "output": _ITEMS,
    "usage": shapes.nullable(shapes.ref("Usage")),
}
"""Fields of a Response that are raw, but no parameter repeated."""


_MODEL: Shape = shapes.record(
    {
        "id": shapes.TEXT,
        "object": shapes.exactly("model"),
        "created": shapes.integer(),
        "owned_by": shapes.TEXT,
    },
    required=("id", "object", "created", "owned_by"),
    says="A model of the server behind this one, in its own words.",
)
_RAW = {msgspec.Raw, msgspec.Raw | msgspec.UnsetType}


def described() -> dict[str, Shape]:
    """Shapes by name of every answer."""
    return {
        **shapes.struct(Conversation, {"metadata": shapes.ref("Metadata")}),
        **shapes.struct(ConversationDeleted),
        **shapes.struct(ItemList, {"data": _ITEMS}),
        **shapes.struct(Response, _of_response()),
        **shapes.struct(ResponseDeleted),
        **shapes.struct(Usage),
        "Model": _MODEL,
        "ModelList": shapes.record(
            {"object": shapes.exactly("list"), "data": shapes.array(shapes.ref("Model"))},
            required=("object", "data"),
        ),
        **shapes.struct(CompactedResponse, {"output": _ITEMS, "usage": shapes.ref("Usage")}),
        **shapes.struct(InputTokens),
        **shapes.struct(ServicesHealth),
        **_of_histories(),
        **shapes.struct(ConversationListed, {"metadata": shapes.ref("Metadata")}),
        **shapes.struct(ConversationList, {"data": shapes.array(shapes.ref("ConversationListed"))}),
        **shapes.struct(SqlRows, {"rows": shapes.array(shapes.array(shapes.ANY))}),
        **shapes.struct(ErrorBody),
        "Document": shapes.record({"openapi": shapes.TEXT}, required=("openapi",)),
        "QueueDocument": shapes.record({"asyncapi": shapes.TEXT}, required=("asyncapi",)),
    }


def _of_histories() -> dict[str, Shape]:
    listed = ("items", "metadata", "turns", "compactions")
    difference = shapes.described(
        shapes.OBJECT, "Values by name: `added`, `removed`, and `changed` with both."
    )
    return {
        **shapes.struct(history.ItemThen, {"item": shapes.ref("Item")}),
        **shapes.struct(
            history.ConversationThen,
            {
                "metadata": shapes.ref("Metadata"),
                "items": shapes.array(shapes.ref("ItemThen")),
            },
        ),
        **shapes.struct(history.ConversationDiff, dict.fromkeys(listed, difference)),
        **shapes.struct(history.CommitStored, {"commit": shapes.OBJECT}),
        **shapes.struct(history.CommitList, {"data": shapes.array(shapes.ref("CommitStored"))}),
        **shapes.struct(history.Verification),
        "ExportLines": shapes.described(
            shapes.TEXT,
            "JSON lines: what it is; each commit with its SHA-256; a last one that is signed.",
        ),
        **shapes.struct(history.ConversationErasure),
        **shapes.struct(history.ConversationFork, {"metadata": shapes.ref("Metadata")}),
    }


def _of_response() -> dict[str, Shape]:
    """Its own fields, and the parameters it repeats: null where null says that none was given."""
    fields = dict(_OWN)
    for field in msgspec.structs.fields(Response):
        if field.name in CREATE and field.type in _RAW:
            rule = shape(CREATE[field.name])
            fields[field.name] = shapes.nullable(rule) if field.default == checks.NULL else rule
    return fields
