"""``/v1/turnlog/conversations/{id}/verify`` and ``/export``: one conversation, to be trusted."""

from collections.abc import AsyncGenerator

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from schemas import subjects
from schemas.http import history
from schemas.http.history import Verification
from services import clock
from services.audit import export, verification
from services.audit.history import Histories
from services.conversation.refusals import ConversationUnknown
from services.gateway import answers
from services.gateway.history import conversation_id_in
from services.gateway.identify import project_of
from services.journal.signing import signing_key
from services.journal.vault import Vault

ORPHAN_AFTER_S = 120.0
"""Seconds after which a turn that has not ended is looked for on the queue."""

log = structlog.get_logger()


class AuditEndpoints:
    """Read the log of a conversation as somebody who does not believe it."""

    def __init__(self, client: Client, vault: Vault | None, histories: Histories) -> None:
        """Reads with ``client``, pages with ``histories``; ``vault`` has the keys."""
        self._client = client
        self._vault = vault
        self._histories = histories

    async def verify(self, request: Request) -> Response:
        """GET /turnlog/conversations/{id}/verify."""
        conversation_id = conversation_id_in(request)
        subject = subjects.conversation(project_of(request), conversation_id)
        look = verification.Verification(
            self._client,
            self._vault,
            processes=0,
            orphan_after_s=ORPHAN_AFTER_S,
            progress=lambda _reached, _last: None,
        )
        report = await look.run([subject])
        if not report.commits:
            raise ConversationUnknown(conversation_id)
        body = Verification(
            id=conversation_id,
            sequence=report.through,
            commits=report.commits,
            clean=report.clean,
            findings=tuple(
                history.Finding(
                    sequence=found.sequence,
                    rule=found.rule,
                    says=found.says,
                    warning=found.warning,
                )
                for found in report.findings
            ),
        )
        return answers.json(body, sequence=report.through)

    async def export(self, request: Request) -> Response:
        """GET /turnlog/conversations/{id}/export."""
        conversation_id = conversation_id_in(request)
        project = project_of(request)
        if not await self._histories.is_known(project, conversation_id):
            raise ConversationUnknown(conversation_id)
        key = await signing_key(self._client, Ed25519PrivateKey.generate())
        lines = export.lines(self._histories, project, conversation_id, key=key, at=clock.now())
        return StreamingResponse(_as_far_as_it_holds(lines), media_type=history.LINES)


async def _as_far_as_it_holds(lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Without its last line it is none that anybody takes for whole."""
    try:
        async for line in lines:
            yield line
    except export.ChainBroken:
        log.warning("export.broken_off")
