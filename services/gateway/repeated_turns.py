"""Turns that were asked for before: with a key by their client, or by an SDK of itself."""

import msgspec
from msgspec.structs import replace
from nats.aio.client import Client
from starlette.requests import Request

from schemas.repeats import Mark
from schemas.turn_requests import TurnRequest
from services.conversation.history import Turn
from services.conversation.refusals import ResponseUnknown
from services.conversation.state import Conversation
from services.gateway.listener import Ended
from services.gateway.repeats import Repeats
from services.gateway.turns import Turns
from services.journal.claimed_turns import ClaimedTurns
from services.journal.conversations import Conversations
from services.journal.turn_requests import TurnRequests
from services.journal.vault import Vault


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The turn to ask for; ``asked``: it was asked for, and is there to be followed.

    ``ended``: as the log tells it, to whoever has been told nothing of it before.
    """

    request: TurnRequest
    asked: bool = False
    ended: Ended | None = None


class RepeatedTurns:
    """Finds the first of equal requests, whichever gateway had it."""

    def __init__(
        self,
        client: Client,
        vault: Vault | None,
        conversations: Conversations,
        turns: Turns,
        repeats: Repeats,
    ) -> None:
        """``repeats`` are the marks of requests without a key."""
        self._conversations = conversations
        self._turns = turns
        self._repeats = repeats
        self._claimed = ClaimedTurns(client, conversations, vault)
        self._queue = TurnRequests(client, vault)

    async def claimed(self, project: str, key: str, asked: TurnRequest) -> Found:
        """What an idempotency key stands for; ``asked``, if that is the first with it.

        A turn that has ended is the answer, however it ended. Raises `KeyReused`.
        """
        claimed = await self._claimed.claim(project, key, asked)
        if claimed.deleted:
            # It was answered once, and is not to be shown again; nor is another one wanted.
            raise ResponseUnknown(claimed.request.response_id)
        turn, ended = claimed.turn, None
        if turn is not None and turn.ended_at is not None:
            ended = Ended(
                turn=turn,
                conversation_id=claimed.request.conversation_id,
                sequence=claimed.sequence,
            )
        return Found(request=claimed.request, asked=claimed.asked, ended=ended)

    async def recalled(
        self, request: Request, project: str, payload: bytes, asked: TurnRequest
    ) -> Found:
        """What an SDK asks for again by itself; ``asked``, if it does not.

        One that was refused or has failed is asked for anew. So is one that was deleted, or is not
        its conversation's last any more: then the same again is more likely meant than repeated.
        """
        fresh = Mark(id=asked.response_id, conversation_id=asked.conversation_id)
        mark, repeated = await self._repeats.recall(request, project, payload, fresh)
        if not repeated:
            return Found(request=asked)
        state = (await self._conversations.load(project, mark.conversation_id)).state
        turn = state.turn(mark.id)
        if turn is None:
            # Its id is spent: the queue takes no second request with it.
            over = await self._turns.refused(project, mark.id)
        else:
            over = turn.status == "failed" or not _newest(turn, state)
        if over:
            await self._repeats.renew(request, project, payload, fresh)
            return Found(request=asked)
        # If the log does not know it, it still waits on the queue, or never came as far.
        known = replace(asked, response_id=mark.id, conversation_id=mark.conversation_id)
        waits = turn is None and await self._queue.find(project, mark.id) is not None
        return Found(request=known, asked=turn is not None or waits)


def _newest(turn: Turn, state: Conversation) -> bool:
    if turn.id in state.responses_deleted:
        return False
    return turn.ended_at is None or not turn.on_line or turn.line_end == len(state.line)
