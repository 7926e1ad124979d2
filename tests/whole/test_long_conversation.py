"""A conversation of very many turns under a small budget: every window fits, and no turn fails.

What a window may hold: with no crossing of the budget unanswered, the budget and its new input.
While the compactor is at a crossing, whatever turns add meanwhile comes on top; never more than the
model takes, since what would be is compacted within its turn.

``TURNLOG_TEST_LONG_TURNS=2000`` leads it to its full length.
"""

import json
import os
from collections.abc import Iterator

import msgspec
import pytest
from openai import OpenAI

from schemas import envelope
from schemas.events import BudgetCrossed, ConversationCompacted, Event, TurnCompleted, TurnRequested
from services.journal.conversations import Loaded, advanced
from services.simulator.entries import entries_of_input, tokens_in, tokens_of
from tests.whole.running import Running, function, listed, output_of, standing, until

TURNS = int(os.environ.get("TURNLOG_TEST_LONG_TURNS", "100"))
BUDGET = 8_000
WINDOW = 12_000
MODEL = f"simulator-{WINDOW}"
"""The simulator refuses what is longer than the number its name ends with."""
TOOLS = [function("look_up", parcel="string")]
SAID = (
    "Parcel NL-{n:05}-88 left Rotterdam on 2026-11-02 with {n} lamps for Rua do Salitre {n}, "
    "Lisbon; whoever signs for it shows passport P{n:07}, and calls +351 555 {n:04} before noon. "
)


class Window(msgspec.Struct):
    """A request as the model received it, and its own count of it."""

    summary: bool
    tokens: int


class Followed:
    """Collects what the model is sent while it forgets."""

    def __init__(self, running: Running) -> None:
        self.windows: list[Window] = []
        self._running = running

    def collect(self) -> None:
        """Take what has come since the last time."""
        received = self._running.received()
        self._running.forget_received()
        for each in received:
            body = json.loads(bytes(each.body))
            entries = entries_of_input(body["input"], instructions=body.get("instructions"))
            tools = body.get("tools")
            tokens = tokens_of(entries) + (tokens_in(str(tools)) if tools else 0)
            summary = entries[0].text.startswith("Summarise") or entries[-1].text.startswith(
                "Summarise the conversation"
            )
            self.windows.append(Window(summary, tokens))


@pytest.fixture(scope="module")
def budgeted(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    running = Running(
        tmp_path_factory.mktemp("long"), tokens_budget=str(BUDGET), models=f"{MODEL}={WINDOW}"
    )
    try:
        yield running.start()
    finally:
        running.end()


def led(client: OpenAI, followed: Followed, *, turns: int) -> str:
    """A conversation of so many turns, every tenth of which calls a tool."""
    conversation = client.conversations.create()
    for n in range(turns):
        order = f' [[call look_up {{"parcel":"{n}"}}]]' if n % 10 == 9 else " [[words 120]]"
        response = client.responses.create(
            model=MODEL,
            input=SAID.format(n=n) * 2 + order,
            conversation=conversation.id,
            tools=TOOLS,
        )
        assert response.status == "completed"
        outputs = [
            output_of(item.call_id, SAID.format(n=n))
            for item in response.output
            if item.type == "function_call"
        ]
        assert bool(outputs) == (n % 10 == 9)
        if outputs:
            response = client.responses.create(
                model=MODEL, input=outputs, conversation=conversation.id, tools=TOOLS
            )
            assert response.status == "completed"
        if n % 100 == 99:
            followed.collect()
    return conversation.id


def test_every_window_of_a_long_conversation_fits(budgeted: Running):
    followed = Followed(budgeted)
    with budgeted.client() as client:
        conversation_id = led(client, followed, turns=TURNS)
    until(lambda: not budgeted.fold(conversation_id).state.crossed)
    followed.collect()

    commits = budgeted.commits(conversation_id)
    asked = TURNS + TURNS // 10
    turns = [window for window in followed.windows if not window.summary]
    assert len(turns) == asked
    assert max(window.tokens for window in turns) <= WINDOW

    loaded, told, before = Loaded(), list[Event](), list[Event]()
    largest = 0
    for stored in commits:
        loaded, state = advanced(loaded, stored), loaded.state
        events = [envelope.unpack(event) for event in envelope.decode(stored.payload).events]
        for event in events:
            if isinstance(event, TurnRequested):
                largest = max(largest, state.tokens)
                answered = any(isinstance(each, ConversationCompacted) for each in before)
                assert state.crossed or answered or state.tokens <= BUDGET
        told, before = told + events, events

    completed = [event for event in told if isinstance(event, TurnCompleted)]
    assert [event.status for event in completed] == ["completed"] * asked
    behind = [event for event in told if isinstance(event, ConversationCompacted)]
    within = [event.compaction for event in completed if event.compaction]
    compactions = [*behind, *within]
    crossings = [event for event in told if isinstance(event, BudgetCrossed)]
    assert len(compactions) >= asked // 50 > 0
    assert all(done.tokens_after < done.tokens_before for done in compactions)
    assert all(event.budget == BUDGET < event.tokens for event in crossings)

    with budgeted.http() as http:
        raws = listed(http, conversation_id)
    assert raws == standing(loaded)
    assert len(raws) == 2 * asked + len(compactions)
    users = [raw for raw in raws if json.loads(raw).get("role") == "user"]
    for n, raw in enumerate(users):
        assert SAID.format(n=n).encode() in raw
    print(  # noqa: T201 - the figures of a long run; shown with -s
        f"turns {asked}, windows: largest {max(w.tokens for w in turns)}, "
        f"mean {sum(w.tokens for w in turns) // asked}; "
        f"largest before a turn {largest}; crossings {len(crossings)}, "
        f"compacted behind {len(behind)}, within turns {len(within)}; "
        f"before/after {[(d.tokens_before, d.tokens_after) for d in compactions[:3]]}; "
        f"items {len(raws)}"
    )
