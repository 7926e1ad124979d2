"""``POST /v1/turnlog/conversations/{id}/erase``: nothing of a conversation is to be left."""

import structlog
from starlette.requests import Request
from starlette.responses import Response

from schemas.http import checks
from schemas.http.history import ConversationErasure
from services.erasure.erase import Eraser
from services.gateway import answers
from services.gateway.identify import project_of

log = structlog.get_logger()


class ErasureEndpoint:
    """Erases, or finishes what was begun."""

    def __init__(self, eraser: Eraser) -> None:
        """``eraser`` does it."""
        self._eraser = eraser

    async def create(self, request: Request) -> Response:
        """POST /turnlog/conversations/{id}/erase."""
        named = answers.path_id(request, "conversation_id")
        conversation_id = checks.named(named, "conv", "conversation_id")
        done = await self._eraser.erase(project_of(request), conversation_id)
        log.info("conversation.erased", conversation_id=conversation_id, sequence=done.sequence)
        body = ConversationErasure(
            id=conversation_id,
            erased_at=int(done.at.timestamp()),
            sequence=done.sequence,
            digest=done.digest,
            commits=done.commits,
            removed=done.removed,
            key=done.key,
        )
        return answers.json(body, sequence=done.sequence)
