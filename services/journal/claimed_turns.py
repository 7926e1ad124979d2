"""Turns that are asked for with an idempotency key, at whatever door: one key, one turn."""

import msgspec
from nats.aio.client import Client

from schemas import claims
from schemas.claims import Claim
from schemas.turn_requests import TurnRequest
from services.conversation.history import Turn
from services.journal.claims import Claims
from services.journal.conversations import Conversations
from services.journal.deltas import Deltas
from services.journal.turn_requests import TurnRequests
from services.journal.vault import Vault


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What a key stands for.

    ``request`` is the one that was made, with the ids of the first that was sent with the key;
    ``first``: it is that one. ``turn`` is what the log knows of it at ``sequence``; ``deleted``:
    its response is not to be shown any more. ``asked``: it need not be put on the queue, where it
    is, or was until the log knew it.
    """

    request: TurnRequest
    first: bool = False
    turn: Turn | None = None
    deleted: bool = False
    sequence: int = 0
    asked: bool = False


class ClaimedTurns:
    """Finds what a request for a turn came to that was sent before."""

    def __init__(
        self,
        client: Client,
        conversations: Conversations,
        vault: Vault | None = None,
        *,
        wait_s: float = 5.0,
    ) -> None:
        """``vault`` has the keys of what is encrypted.

        ``wait_s`` bounds the wait for each answer of the log.
        """
        self._queue = TurnRequests(client, vault, wait_s=wait_s)
        self._conversations = conversations
        self._claims = Claims(client, vault, wait_s=wait_s)
        self._deltas = Deltas(client, vault, wait_s=wait_s)

    async def claim(self, project: str, key: str, request: TurnRequest) -> Claimed:
        """Have a key stand for a request, unless it stands for an equal one already.

        One that was refused before a turn began is no longer stood for: it came to nothing. One of
        which nothing is known was perhaps never sent, and may be sent again under its ids. Raises
        `KeyReused`, or `JournalUnavailable`.
        """
        wanted = Claim(
            id=request.response_id,
            conversation_id=request.conversation_id,
            fingerprint=claims.fingerprint_of_turn(bytes(request.body)),
        )
        refused = 0
        while True:
            held = await self._claims.claim(project, key, wanted, instead_of=refused)
            claim = held.claim
            if claim.id == wanted.id:
                return Claimed(request=request, first=True)
            # In this order: what leaves the queue is in the log by then, or was refused.
            waiting = await self._queue.find(project, claim.id)
            loaded = await self._conversations.load(project, claim.conversation_id)
            state = loaded.state
            turn = state.turn(claim.id)
            if waiting is not None and turn is None:
                return Claimed(request=waiting.request, asked=True)
            known = msgspec.structs.replace(
                request, response_id=claim.id, conversation_id=claim.conversation_id
            )
            if turn is not None:
                deleted = claim.id in state.responses_deleted
                return Claimed(
                    request=known,
                    turn=turn,
                    deleted=deleted,
                    sequence=loaded.sequence,
                    asked=True,
                )
            if not await self._deltas.refused(project, claim.id):
                return Claimed(request=known)
            refused = held.sequence
