"""``GET /v1/turnlog/conversations``: those of a project that match, page by page."""

import msgspec
import nats.errors
from nats.aio.client import Client
from starlette.requests import Request
from starlette.responses import Response

from schemas import queries, subjects
from schemas.http.errors import Invalid, NotFound, Overloaded, ServerFault
from schemas.http.listing import ConversationList, ConversationListed, read_listing
from schemas.queries import Listed, ListingAnswer
from services.gateway import answers
from services.gateway.after import after_sequence
from services.gateway.identify import project_of

WAIT_S = 20.0
"""Seconds an answer may take, waiting for its sequence and for others included."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ListingAnswer).decode


class ListingEndpoint:
    """Asks the views: the log has no order but that of its commits."""

    def __init__(self, client: Client) -> None:
        """``client`` is the gateway's connection."""
        self._client = client

    async def list(self, request: Request) -> Response:
        """GET /turnlog/conversations."""
        asked = read_listing(
            request.query_params.multi_items(),
            project=project_of(request),
            sequence=after_sequence(request),
        )
        try:
            told = await self._client.request(
                subjects.ask("conversations"), _encode(asked), timeout=WAIT_S
            )
        except (nats.errors.Error, TimeoutError) as error:
            raise Overloaded("The views cannot be asked. Please retry.") from error
        answer = _decode(told.data)
        _check(answer)
        page = tuple(map(_listed, answer.conversations))
        body = ConversationList(
            data=page,
            first_id=page[0].id if page else None,
            has_more=answer.has_more,
            last_id=page[-1].id if page else None,
        )
        return answers.json(body, sequence=answer.sequence)


def _check(answer: ListingAnswer) -> None:
    """Raise what a client is told if there is no page."""
    match answer.code:
        case None:
            return
        case queries.UNKNOWN:
            raise NotFound(f"Conversation with id '{answer.error}' not found.", param="after")
        case queries.BEHIND | queries.BUSY:
            raise Overloaded(f"The views are not ready: {answer.error}. Please retry.")
        case queries.TIMED_OUT | queries.OUT_OF_MEMORY:
            raise Invalid(
                "Too many conversations to look through: narrow what they have in common.",
                code="listing_too_large",
            )
        case _:
            raise ServerFault("The projector had an error while it listed conversations.")


def _listed(found: Listed) -> ConversationListed:
    return ConversationListed(
        id=found.conversation_id,
        created_at=int(found.created_at.timestamp()),
        metadata=found.metadata,
        updated_at=int(found.updated_at.timestamp()),
        items=found.items,
        turns=found.turns,
        tokens=found.tokens,
    )
