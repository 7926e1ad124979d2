"""What is turned away before it is worked on: what was asked for before, and what is too late."""

from nats.aio.client import Client

from schemas import claims, subjects
from schemas.http.errors import ApiError, Invalid, KeyReused, Overloaded, TooMany
from schemas.turn_requests import TurnRequest
from services import clock
from services.journal import JournalUnavailable
from services.journal.claimed_turns import ClaimedTurns
from services.journal.conversations import Conversations
from services.journal.publishing import MESSAGE_ID, NOT_STORED, publish
from services.journal.turn_requests import TurnRequests
from services.journal.vault import Vault
from services.responder.outcome import Refusal, Repeated, refusal

ASK_WAIT_S = 5.0
"""Seconds for a request to be stored."""


class Expired(Overloaded):
    """The turn was not admitted while somebody waited for it."""

    def __init__(self) -> None:
        super().__init__(
            "The turn could not begin in the time it was given: it was not run, and the model was "
            "not called. Please retry."
        )


def out_of_time(request: TurnRequest) -> ApiError | None:
    """Why a request may not be admitted any more, by the clock of this machine."""
    if request.expires_at is None:
        return None
    if request.expires_at.tzinfo is None:
        return Invalid(
            "Invalid 'expires_at': expected a time with its offset from UTC.",
            param="expires_at",
            code="invalid_value",
        )
    return Expired() if request.expires_at <= clock.now() else None


class Door:
    """Lets in the first of equal requests, and none that comes too late."""

    def __init__(
        self, client: Client, conversations: Conversations, vault: Vault | None = None
    ) -> None:
        """``client`` is what requests of others are put on the queue with."""
        self._client = client
        self._conversations = conversations
        self._requests = TurnRequests(client, vault)
        self._claimed = ClaimedTurns(client, conversations, vault)

    async def turned_away(self, project: str, request: TurnRequest) -> Refusal | Repeated | None:
        """What a request comes to that is not to be worked on; none if it is.

        Twice is safe: a request finds its own claim, and goes on once its turn has begun. Raises
        `JournalUnavailable`.
        """
        away: Refusal | Repeated | None = None
        if request.request_id is not None:
            away = await self._repeated(project, request.request_id, request)
        if away is None and (late := out_of_time(request)) is not None:
            away = refusal(late)
        # What has begun goes on, whatever its key has come to stand for.
        if away is None:
            return None
        begun = await self._conversations.turn(
            project, request.conversation_id, request.response_id
        )
        return away if begun is None else None

    async def _repeated(
        self, project: str, key: str, request: TurnRequest
    ) -> Refusal | Repeated | None:
        """What a request comes to whose key stands for another already, or is none."""
        if not claims.acceptable(key):
            return refusal(
                Invalid(
                    "Invalid 'request_id': expected 1 to 255 visible ASCII characters.",
                    param="request_id",
                    code="invalid_value",
                )
            )
        try:
            claimed = await self._claimed.claim(project, key, request)
        except KeyReused as reused:
            return refusal(reused)
        if claimed.first:
            return None
        if not claimed.asked and not await self._ask(project, claimed.request):
            # The key goes on to stand for the first: the next repeat may find room for it.
            return refusal(TooMany("Too many turns are waiting. Please retry."))
        turn = claimed.turn
        return Repeated(
            response_id=claimed.request.response_id,
            frees_line=turn is None or turn.ended_at is not None,
        )

    async def _ask(self, project: str, request: TurnRequest) -> bool:
        """Ask for the first, whose asker may have died before; false if there is no room."""
        ack = await publish(
            self._client,
            subjects.turn_request(project, request.conversation_id),
            await self._requests.encoded(project, request),
            {MESSAGE_ID: request.response_id},
            wait_s=ASK_WAIT_S,
        )
        if ack.error is None:
            return True
        if ack.error.err_code == NOT_STORED:
            return False
        raise JournalUnavailable(f"request refused: {ack.error.description}")
