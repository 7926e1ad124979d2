"""The log on NATS JetStream: appends with an expected sequence, reads of one subject.

Outcomes of an append are told apart by error code, never by text. A single node checks the
expected sequence before it looks for duplicates, so that a repeated append of what is already
stored reads as a conflict: whoever finds his own id on the last message has succeeded.
"""

from collections.abc import Mapping

from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import envelope, subjects
from schemas.envelope import Commit
from services.journal import Conflict, JournalUnavailable, Repeated, Stored
from services.journal.expecting import EXPECTED, WRONG_LAST_SEQUENCE
from services.journal.publishing import MESSAGE_ID, publish
from services.journal.reading import Reader, sequence_of
from services.journal.vault import KeyDestroyed, Vault


class JetStreamJournal:
    """Commits on stream CONVERSATIONS; one literal subject per conversation."""

    def __init__(self, client: Client, vault: Vault | None = None, *, wait_s: float = 5.0) -> None:
        """``vault`` has the keys; without it nothing is encrypted, nor decrypted.

        ``wait_s`` bounds each request, and three times that an append with its repeats.
        """
        self._client = client
        self._vault = vault
        self._reader = Reader(client, wait_s=wait_s)
        self._wait_s = wait_s

    async def encoded(self, commit: Commit) -> bytes:
        """As the protocol says."""
        if self._vault is None:
            return envelope.encode(commit)
        try:
            return await self._vault.encoded(commit)
        except KeyDestroyed as error:
            # Whoever erased it has said so in the log first.
            raise Conflict from error

    async def append(
        self,
        project: str,
        conversation_id: str,
        payload: bytes,
        *,
        message_id: str,
        expected: int,
        headers: Mapping[str, str],
    ) -> int:
        """As the protocol says."""
        subject = subjects.conversation(project, conversation_id)
        sent = {**headers, MESSAGE_ID: message_id, EXPECTED: str(expected)}
        ack = await publish(self._client, subject, payload, sent, wait_s=3 * self._wait_s)
        if ack.error is None and not ack.duplicate:
            return ack.seq
        if ack.error is None or ack.error.err_code == WRONG_LAST_SEQUENCE:
            newest = await self.last(project, conversation_id)
            if newest and (newest.message_id, newest.original) == (message_id, payload):
                return newest.sequence
            raise Repeated if ack.duplicate else Conflict
        raise JournalUnavailable(f"append refused: {ack.error.err_code} {ack.error.description}")

    async def last(self, project: str, conversation_id: str) -> Stored | None:
        """As the protocol says."""
        subject = subjects.conversation(project, conversation_id)
        message = await self._reader.last(subjects.CONVERSATIONS, subject)
        return None if message is None else await self._stored(message)

    async def read(self, project: str, conversation_id: str, *, after: int) -> list[Stored]:
        """As the protocol says."""
        subject = subjects.conversation(project, conversation_id)
        messages = await self._reader.read(subjects.CONVERSATIONS, subject, after=after)
        return [await self._stored(message) for message in messages]

    async def read_slice(
        self, project: str, conversation_id: str, *, after: int, bytes_max: int
    ) -> list[Stored]:
        """As `read`, but ``bytes_max`` bytes at most, or one commit if that has more."""
        subject = subjects.conversation(project, conversation_id)
        messages = await self._reader.read_slice(
            subjects.CONVERSATIONS, subject, after=after, bytes_max=bytes_max
        )
        return [await self._stored(message) for message in messages]

    async def _stored(self, message: Msg) -> Stored:
        headers, payload = message.headers or {}, message.data
        if self._vault is not None:
            payload = await self._vault.opened(payload)
        return Stored(
            sequence=sequence_of(message),
            previous=int(headers.get(EXPECTED, "0")),
            message_id=headers.get(MESSAGE_ID, ""),
            payload=payload,
            sealed=b"" if payload is message.data else message.data,
        )
