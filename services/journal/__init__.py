"""The log of commits, behind one protocol with two implementations: JetStream and memory."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from schemas import envelope
from schemas.envelope import Commit


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A commit as the log holds it.

    ``previous`` is the sequence of the same conversation's commit before it, 0 for the first;
    ``message_id`` the id of the command it grants. ``payload`` is the commit with its content;
    ``sealed`` is what the log holds, where that is encrypted.
    """

    sequence: int
    previous: int
    message_id: str
    payload: bytes
    sealed: bytes = b""

    @property
    def original(self) -> bytes:
        """The bytes the log holds."""
        return self.sealed or self.payload

    @property
    def digest(self) -> str:
        """What the next commit carries as ``prev``."""
        return envelope.digest(self.original)


class Conflict(Exception):
    """Somebody else appended to the conversation first: load again, decide again."""


class Repeated(Conflict):
    """A commit with this message id is stored already, and is not the conversation's last."""


class JournalUnavailable(Exception):
    """The log cannot be reached now. The commit may or may not be stored; the same id is safe."""


class Journal(Protocol):
    """Commits of conversations. Acked means stored; every conversation has its own order."""

    async def encoded(self, commit: Commit) -> bytes:
        """The bytes a commit is appended as.

        Raises `Conflict` if it is decided on what is not so any more, or `JournalUnavailable`.
        """

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
        """Store a commit as the next one after sequence ``expected`` (0: as the first).

        Returns its sequence, also when this very commit is already the last one. Raises
        `Conflict`, `Repeated` or `JournalUnavailable`.
        """

    async def last(self, project: str, conversation_id: str) -> Stored | None:
        """The newest commit of a conversation."""

    async def read(self, project: str, conversation_id: str, *, after: int) -> list[Stored]:
        """All commits with a sequence above ``after``, oldest first."""
