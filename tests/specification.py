"""The grammar in which rules are tested: given(events).when(command).then(events)."""

from typing import TypeVar

import msgspec

from schemas.events import Event
from services.conversation.budget import Policy
from services.conversation.commands import Command
from services.conversation.decide import decide
from services.conversation.refusals import Refused
from services.conversation.state import Conversation
from tests.builders import CONVERSATION_ID, after, state_of

R = TypeVar("R", bound=Refused)


class Given(msgspec.Struct, frozen=True):
    """A history."""

    state: Conversation
    policy: Policy = Policy()

    def under(self, policy: Policy) -> "Given":
        """The same history under other limits."""
        return Given(self.state, policy)

    def when(self, command: Command) -> "When":
        """What is asked of it."""
        return When(self.state, command, self.policy)


class When(msgspec.Struct, frozen=True):
    """A command on a history."""

    state: Conversation
    command: Command
    policy: Policy

    def then(self, *events: Event) -> Given:
        """It is granted by exactly these events; returns the history that has them."""
        assert self._decided() == events
        return Given(after(self.state, *events, sequence=100), self.policy)

    def refuses(self, kind: type[R]) -> R:
        """It is refused for exactly this reason; returns the refusal."""
        try:
            granted = self._decided()
        except Refused as refused:
            assert type(refused) is kind  # noqa: PT017 - returned, for its words to be compared
            return refused
        raise AssertionError(f"granted: {granted}")

    def _decided(self) -> tuple[Event, ...]:
        return decide(self.state, self.command, conversation_id=CONVERSATION_ID, policy=self.policy)


def given(*events: Event) -> Given:
    """A conversation in which this has happened."""
    return Given(state_of(*events))
