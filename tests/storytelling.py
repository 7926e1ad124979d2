"""Histories as they come about: any commands in any order, as far as the rules grant them."""

from collections.abc import Callable, Iterator
from itertools import count
from random import Random

import msgspec
from hypothesis import strategies as st

from schemas import events as e
from services.conversation import commands as c
from services.conversation.budget import Policy
from services.conversation.decide import decide
from services.conversation.refusals import Refused
from services.conversation.state import NEW, Conversation
from tests.builders import (
    CONVERSATION_ID,
    after,
    compact,
    compaction_item,
    complete,
    fail,
    ids_of,
    message,
    request,
    said,
    turn_summary,
)

STEPS = ("add", "add", "delete", "ask", "answer", "answer", "sum_up", "compact", "fail", "rename")
STORIES = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2**16)), max_size=30)

Story = list[tuple[str, int]]


class Teller:
    """Makes of each step a command that fits the state it is told in, with ids nobody has."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def command(self, state: Conversation, step: str, seed: int) -> c.Command | None:
        """What is asked for next; none where there is nothing to ask for."""
        if not state.exists:
            return c.CreateConversation(metadata={"topic": "a"}, items=(self._message(),))
        making: dict[str, Callable[[Conversation, Random], c.Command | None]] = {
            "add": lambda _, luck: c.AddItems(
                items=tuple(self._message() for _ in range(luck.randrange(1, 4)))
            ),
            "delete": self._delete,
            "ask": self._ask,
            "answer": self._answer,
            "sum_up": self._sum_up,
            "compact": self._compact,
            "fail": lambda state, _: state.turn_on_line and fail(state.turn_on_line.id),
            "rename": lambda _, luck: c.UpdateConversation(
                metadata={"topic": str(luck.randrange(9))}
            ),
        }
        return making[step](state, Random(seed))

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers)}"

    def _message(self):
        return message(self._id("msg"), f"text {next(self._numbers)}", tokens=3)

    def _delete(self, state: Conversation, luck: Random) -> c.Command | None:
        standing = ids_of(state.listed(0, descending=False))
        return c.DeleteItem(item_id=luck.choice(standing)) if standing else None

    def _ask(self, _state: Conversation, luck: Random) -> c.Command:
        parameters = luck.choice([b"{}", b'{"truncation":"auto"}'])
        command = request(self._id("resp"), self._message())
        return msgspec.structs.replace(command, parameters=msgspec.Raw(parameters))

    def _answer(self, state: Conversation, luck: Random) -> c.Command | None:
        turn = state.turn_on_line
        return turn and complete(turn.id, said(self._id("msg")), total=luck.randrange(50))

    def _sum_up(self, state: Conversation, luck: Random) -> c.Command | None:
        turn, item_id = state.turn_on_line, self._id("cmp")
        summary = turn_summary(item_id, covered=luck.randrange(len(state.line) + 1))
        items = (compaction_item(item_id), said(self._id("msg")))
        return turn and complete(turn.id, *items, summary=summary)

    def _compact(self, state: Conversation, luck: Random) -> c.Command:
        covered = luck.randrange(len(state.line) + 1)
        standing = [item.id for item in state.line.between(0, covered) if state.item(item.id)]
        command = compact(
            compaction_item(self._id("cmp"), tokens=2),
            covered=covered,
            after=state.compactions[-1].item.id if state.compactions else None,
            removed=[position for position in state.removed if position < covered],
        )
        kept = tuple(luck.sample(standing, luck.randrange(len(standing) + 1)))
        return msgspec.structs.replace(command, kept=kept)


def granted(story: Story) -> Iterator[tuple[e.Event, ...]]:
    """The events of each command that is granted."""
    teller, state = Teller(), NEW
    for step, seed in [("create", 0), *story]:
        command = teller.command(state, step, seed)
        try:
            events = command and decide(
                state, command, conversation_id=CONVERSATION_ID, policy=Policy(tokens_budget=20)
            )
        except Refused:
            continue
        if events:
            state = after(state, *events, sequence=100)
            yield events


def told(story: Story) -> Conversation:
    """The state at the end."""
    state = NEW
    for events in granted(story):
        state = after(state, *events, sequence=100)
    return state
