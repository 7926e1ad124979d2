"""A new conversation from a point of another one's history."""

from services import ids
from services.audit.history import Histories, Moment
from services.audit.points import Point
from services.conversation import fork as rules
from services.conversation.commands import ForkConversation
from services.conversation.refusals import ConversationUnknown, ForkOfChain
from services.conversation.visible import visible
from services.journal.conversations import Conversations, Granted

COMMIT_BYTES = 64 * 1024
"""Room a commit and its headers need beside its events."""


class Forks:
    """Copies conversations of one log."""

    def __init__(
        self, histories: Histories, conversations: Conversations, *, bytes_max: int
    ) -> None:
        """``bytes_max`` is what the server takes in one message."""
        self._histories = histories
        self._conversations = conversations
        self._part_bytes_max = bytes_max - COMMIT_BYTES

    async def fork(
        self, project: str, conversation_id: str, point: Point | None
    ) -> tuple[str, Granted, Moment]:
        """A fresh conversation, the commit that completed it, and what it was taken from.

        Raises `Refused` where there is nothing to copy, and `JournalUnavailable`: then there is no
        fork, or one nobody can address.
        """
        origin = await self._histories.moment(project, conversation_id, point)
        if origin is not None and origin.state.hidden:
            raise ForkOfChain
        if origin is None or not visible(origin.state):
            raise ConversationUnknown(conversation_id)
        forked_id = ids.conversation_id()
        parts = rules.parts(
            origin.state,
            origin=conversation_id,
            sequence=origin.sequence,
            digest=origin.digest,
            bytes_max=self._part_bytes_max,
        )
        granted = None
        for part in parts:
            granted = await self._conversations.grant(
                project,
                forked_id,
                ForkConversation(part=part),
                command_id=ids.unique(),
                fresh=granted is None,
            )
        assert granted is not None
        return forked_id, granted, origin
