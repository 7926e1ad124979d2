"""What a conversation was at any point of its history, folded from the log anew.

Nothing is kept in memory for it: whoever works on the conversation now is not in the way.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas import envelope
from services.audit.points import Point
from services.conversation.state import Conversation
from services.journal import Stored
from services.journal.conversations import Loaded, advanced, known
from services.journal.jetstream import JetStreamJournal


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as its commit ``sequence``, stored at ``at``, had left it.

    ``digest`` is of that commit's bytes.
    """

    state: Conversation
    sequence: int
    at: datetime
    digest: str


class Histories:
    """The histories of one log."""

    def __init__(self, journal: JetStreamJournal) -> None:
        """Reads from ``journal``, and from nothing else."""
        self._journal = journal

    async def is_known(self, project: str, conversation_id: str) -> bool:
        """Whether the log has anything of a conversation."""
        return await self._journal.last(project, conversation_id) is not None

    async def page(
        self, project: str, conversation_id: str, *, after: int, limit: int, bytes_max: int
    ) -> tuple[list[Stored], bool]:
        """Commits with a sequence above ``after``, and whether there are more than these."""
        found = await self._journal.read_slice(
            project, conversation_id, after=after, bytes_max=bytes_max
        )
        if len(found) > limit:
            return found[:limit], True
        if not found:
            return [], False
        newest = await self._journal.last(project, conversation_id)
        return found, newest is not None and newest.sequence > found[-1].sequence

    async def commits(self, project: str, conversation_id: str) -> list[Stored]:
        """Every commit of a conversation, oldest first; none if the log does not know it."""
        return await self._journal.read(project, conversation_id, after=0)

    async def moment(
        self, project: str, conversation_id: str, point: Point | None = None
    ) -> Moment | None:
        """The conversation at a point, now if none is named; none where it had not begun."""
        (found,) = await self.moments(project, conversation_id, point)
        return found

    async def moments(
        self, project: str, conversation_id: str, *points: Point | None
    ) -> list[Moment | None]:
        """As `moment`, at several points."""
        commits = await self.commits(project, conversation_id)
        # Long histories take a while, in which others on this loop have work to do.
        return await asyncio.to_thread(lambda: [moment(commits, point) for point in points])


def moment(commits: Sequence[Stored], point: Point | None = None) -> Moment | None:
    """The state after the commits up to a point."""
    loaded = Loaded()
    reached = until(commits, point)
    told = known(commits)
    if told is not commits:
        # Of what was erased nothing is known but that, and nothing of what came before.
        reached = told if reached and reached[-1] is told[0] else ()
    for stored in reached:
        loaded = advanced(loaded, stored)
    if not reached:
        return None
    assert loaded.digest is not None
    return Moment(
        state=loaded.state,
        sequence=loaded.sequence,
        at=envelope.decode(reached[-1].payload).at,
        digest=loaded.digest,
    )


def until(commits: Sequence[Stored], point: Point | None) -> Sequence[Stored]:
    """Commits up to a point, that one included.

    Their times are those of the processes that wrote them. Of a few that are out of order, the
    last that is not later counts, with all before it.
    """
    if point is None:
        return commits
    for count in range(len(commits), 0, -1):
        stored = commits[count - 1]
        if not _is_after(stored, point):
            return commits[:count]
    return ()


def between(commits: Sequence[Stored], since: Point | None, to: Point | None) -> Sequence[Stored]:
    """Commits from one point to another, those at both included."""
    return [
        stored for stored in until(commits, to) if since is None or not _is_before(stored, since)
    ]


def _is_after(stored: Stored, point: Point) -> bool:
    if isinstance(point, int):
        return stored.sequence > point
    return envelope.decode(stored.payload).at > point


def _is_before(stored: Stored, point: Point) -> bool:
    if isinstance(point, int):
        return stored.sequence < point
    return envelope.decode(stored.payload).at < point
