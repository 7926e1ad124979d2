"""Puts commits that cannot be projected on the stream PARKED, and looks whether they can be now."""

import nats.errors
import nats.js.errors
import stamina
from nats.aio.client import Client
from nats.js.api import RawStreamMsg

from schemas import subjects
from services.encryption import Altered
from services.journal import JournalUnavailable
from services.journal.parked import Parked
from services.journal.vault import Vault
from services.projector.database import CommitUnreadable, ParkedCommit
from services.projector.facts import Message
from services.projector.prepare import prepare

REASON = "unreadable"
RETRY_S_MAX = 5.0
UNKNOWN = ""
"""Of a commit that was deleted from the log meanwhile."""

_UNAVAILABLE = (nats.errors.Error, JournalUnavailable, TimeoutError, ConnectionError)


class Parking:
    """The way to PARKED for the projection of one log."""

    def __init__(self, client: Client, vault: Vault | None) -> None:
        """``client`` may be shared; ``vault`` is for what is to be readable."""
        self._client = client
        self._vault = vault

    async def park(self, unreadable: CommitUnreadable) -> ParkedCommit:
        """Park a commit of the log, however long that takes, and say of which conversation it is.

        Done again, after a crash, it may be parked twice.
        """
        async for attempt in stamina.retry_context(
            on=_UNAVAILABLE, attempts=None, timeout=None, wait_max=RETRY_S_MAX
        ):
            with attempt:
                return await self._park(unreadable)
        raise AssertionError

    async def readable(self, commits: list[ParkedCommit]) -> bool:
        """Whether all of them can be read now, as after another release was installed."""
        for commit in commits:
            found = await self._stored(commit.sequence)
            if found is None:
                continue
            payload = found.data or b""
            try:
                if self._vault is not None:
                    payload = await self._vault.opened(payload)
            except Altered:
                return False
            message = Message(commit.sequence, _block(found), payload)
            if prepare([message], after=commit.sequence - 1, running={}).error is not None:
                return False
        return True

    async def _park(self, unreadable: CommitUnreadable) -> ParkedCommit:
        project = conversation_id = UNKNOWN
        found = await self._stored(unreadable.sequence)
        if found is not None:
            assert found.subject is not None
            project, conversation_id = subjects.conversation_parts(found.subject)
            await Parked(self._client).put(
                subjects.CONVERSATIONS,
                REASON,
                subject=found.subject,
                payload=found.data or b"",
                message_id=f"{REASON}-{unreadable.sequence}-{found.time}",
            )
        return ParkedCommit(
            sequence=unreadable.sequence,
            project=project,
            conversation_id=conversation_id,
            error=unreadable.reason,
        )

    async def _stored(self, sequence: int) -> RawStreamMsg | None:
        try:
            return await self._client.jetstream().get_msg(subjects.CONVERSATIONS, seq=sequence)
        except nats.js.errors.NotFoundError:
            return None


def _block(message: RawStreamMsg) -> bytes:
    """The headers as they come on the wire."""
    lines = (f"{name}: {value}\r\n" for name, value in (message.headers or {}).items())
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode()
