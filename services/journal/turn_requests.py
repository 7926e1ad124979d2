"""Turn requests on the queue, looked at and taken off without a delivery."""

from collections.abc import AsyncIterator

import msgspec
from nats.aio.client import Client

from schemas import ids as id_forms
from schemas import subjects, turn_requests
from schemas.turn_requests import TurnRequest
from services import encryption
from services.encryption import Altered, is_sealed_message
from services.journal import JournalUnavailable
from services.journal.patience import LED_ATTEMPT_S, patiently
from services.journal.publishing import Failure
from services.journal.reading import NO_MESSAGE
from services.journal.vault import KeyDestroyed, Vault

_NONE = frozenset({NO_MESSAGE})
_GONE = frozenset({10043, 10057})
"""JSSequenceNotFoundErrF, and JSStreamMsgDeleteFailedF, which says the same where there is a hole.
If that ever hides a failure, the request is found to have been answered when it comes again."""


class Waiting(msgspec.Struct, frozen=True):
    """A request on the queue, and its stream sequence there; ``sealed``: it was encrypted."""

    place: int
    request: TurnRequest
    sealed: bool = False


class _Next(msgspec.Struct):
    seq: int
    next_by_subj: str


class _At(msgspec.Struct):
    seq: int


class _Delete(msgspec.Struct):
    seq: int
    no_erase: bool = True


class _Message(msgspec.Struct):
    seq: int
    data: bytes = b""


class _Answer(msgspec.Struct):
    message: _Message | None = None
    error: Failure | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode


def decoded(payload: bytes, conversation_id: str | None) -> TurnRequest | None:
    """The request in a message; none if it is no request, or one for another conversation."""
    try:
        request = turn_requests.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    if not id_forms.acceptable(request.response_id):
        return None
    return request if conversation_id in {None, request.conversation_id} else None


class TurnRequests:
    """The stream TURN_REQUESTS as its leader has it: who is in front may not be out of date."""

    def __init__(self, client: Client, vault: Vault | None = None, *, wait_s: float = 5.0) -> None:
        """``vault`` has the keys of those that are encrypted.

        ``wait_s`` bounds each request, and twice that what is asked again.
        """
        self._client = client
        self._vault = vault
        self._wait_s = wait_s

    async def encoded(self, project: str, request: TurnRequest) -> bytes:
        """A request as it may be stored; raises `KeyDestroyed` or `JournalUnavailable`."""
        payload = turn_requests.encode(request)
        if self._vault is None:
            return payload
        key = await self._vault.make(project, request.conversation_id)
        return encryption.seal_message(payload, key, *_place(project, request.conversation_id))

    async def decoded(
        self, project: str, conversation_id: str, payload: bytes
    ) -> TurnRequest | None:
        """The request in a message of a conversation's subject; none if it is no request.

        Raises `KeyDestroyed` or `JournalUnavailable`.
        """
        return decoded(await self.opened(project, conversation_id, payload), conversation_id)

    async def of(self, project: str, conversation_id: str) -> AsyncIterator[Waiting]:
        """The requests of a conversation, oldest first; raises `JournalUnavailable`."""
        subject = subjects.turn_request(project, conversation_id)
        place = 0
        while True:
            answer = await self._ask("GET", _encode(_Next(place + 1, subject)), _NONE)
            if answer.message is None:
                return
            place = answer.message.seq
            payload = answer.message.data
            try:
                request = await self.decoded(project, conversation_id, payload)
            except KeyDestroyed:
                continue
            if request is not None:
                yield Waiting(place, request, is_sealed_message(payload))

    async def find(self, project: str, response_id: str) -> Waiting | None:
        """The request for a response; raises `JournalUnavailable`."""
        conversation_id = id_forms.conversation_of(response_id)
        if conversation_id is None:
            return None
        async for waiting in self.of(project, conversation_id):
            if waiting.request.response_id == response_id:
                return waiting
        return None

    async def opened(self, project: str, conversation_id: str, payload: bytes) -> bytes:
        """A message with its content, as far as its key is there; raises `KeyDestroyed`."""
        if self._vault is None or not is_sealed_message(payload):
            return payload
        key = await self._vault.find(project, conversation_id)
        if key is None:
            return payload
        try:
            return encryption.unseal_message(payload, key, *_place(project, conversation_id))
        except Altered:
            return payload

    async def holds(self, place: int) -> bool:
        """Whether the request at ``place`` is still to be answered; raises `JournalUnavailable`."""
        return (await self._ask("GET", _encode(_At(place)), _NONE)).message is not None

    async def remove(self, place: int) -> None:
        """Take a request off the queue, delivered or not; twice is once."""
        await self._ask("DELETE", _encode(_Delete(place)), _GONE)

    async def _ask(self, what: str, request: bytes, nothing: frozenset[int]) -> _Answer:
        """The leader's answer; ``nothing``: its codes for there being no such message."""
        subject = f"$JS.API.STREAM.MSG.{what}.{subjects.TURN_REQUESTS}"

        async def once(attempt_s: float) -> _Answer:
            answered = await self._client.request(subject, request, timeout=attempt_s)
            answer = _decode(answered.data)
            if answer.error is not None and answer.error.err_code not in nothing:
                raise JournalUnavailable(answer.error.description)
            return answer

        return await patiently(once, wait_s=2 * self._wait_s, attempt_s=LED_ATTEMPT_S)


def _place(project: str, conversation_id: str) -> tuple[str, ...]:
    return ("turn_request", project, conversation_id)
