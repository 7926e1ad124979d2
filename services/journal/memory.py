"""The log's promises in a list: the twin of `JetStreamJournal`, for tests and replays."""

from collections.abc import Mapping

from schemas import envelope
from schemas.envelope import Commit
from services.journal import Conflict, Repeated, Stored


class MemoryJournal:
    """Keeps everything, durably for as long as the object lives."""

    def __init__(self) -> None:
        self._commits: dict[tuple[str, str], list[Stored]] = {}
        self._sequence = 0
        self.headers: dict[int, Mapping[str, str]] = {}

    async def encoded(self, commit: Commit) -> bytes:
        """As the protocol says."""
        return envelope.encode(commit)

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
        commits = self._commits.setdefault((project, conversation_id), [])
        newest = commits[-1] if commits else None
        if newest is not None and (newest.message_id, newest.payload) == (message_id, payload):
            return newest.sequence
        if (newest.sequence if newest else 0) != expected:
            raise Conflict
        if any(stored.message_id == message_id for stored in commits):
            raise Repeated
        self._sequence += 1
        self.headers[self._sequence] = dict(headers)
        commits.append(
            Stored(
                sequence=self._sequence, previous=expected, message_id=message_id, payload=payload
            )
        )
        return self._sequence

    async def last(self, project: str, conversation_id: str) -> Stored | None:
        """As the protocol says."""
        commits = self._commits.get((project, conversation_id))
        return commits[-1] if commits else None

    async def read(self, project: str, conversation_id: str, *, after: int) -> list[Stored]:
        """As the protocol says."""
        commits = self._commits.get((project, conversation_id), [])
        return [stored for stored in commits if stored.sequence > after]
