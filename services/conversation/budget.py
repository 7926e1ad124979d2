"""When a window has outgrown its budget, and whose budget that is.

The most specific counts: the conversation's own, its project's, everybody's. None is more than its
model can keep.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from schemas import events as e
from schemas.http.conversations import token_budget
from services.conversation.limits import Models
from services.conversation.state import Conversation, evolve, tokens_after

CROSSED_AGAIN = 1.5
"""How much the window must grow past the last crossing before another one is reported.

A compaction that failed, or could not shrink below the budget, is asked for again after this
growth, not after every turn.
"""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that are settings; ``tokens_budget`` 0 means no budget.

    ``project_budgets`` are of those projects that have one of their own.
    """

    tokens_budget: int = 0
    project_budgets: Mapping[str, int] = {}
    models: Models = msgspec.field(default_factory=Models)

    def of(self, project: str) -> "Policy":
        """What holds in one project."""
        budget = self.project_budgets.get(project, self.tokens_budget)
        if budget == self.tokens_budget:
            return self
        return msgspec.structs.replace(self, tokens_budget=budget)

    def budget(self, metadata: Mapping[str, str], *, model: str) -> int:
        """The budget of a conversation, of a policy that holds in its project; 0: none.

        ``model`` is the one its windows are for, empty if none has been asked.
        """
        own = token_budget(metadata)
        budget = self.tokens_budget if own is None else own
        return self.models.of(model).capped(budget) if model else budget


def crossed(*, tokens: int, budget: int, last: int) -> bool:
    """Whether a commit that leaves ``tokens`` in the window reports a crossing.

    ``budget`` 0 means none is set; ``last`` is the size at the last report that no compaction has
    answered, 0 without one.
    """
    return 0 < budget < tokens and tokens >= last * CROSSED_AGAIN


def last_model(state: Conversation) -> str:
    """The model that was asked last, empty before the first turn."""
    last = next(iter(state.turns.downwards(len(state.turns) - 1)), None)
    return last.model if last else ""


def with_crossing(
    state: Conversation, granted: tuple[e.Event, ...], policy: Policy
) -> tuple[e.Event, ...]:
    """``granted``, and a crossing of the budget if they cause one: one commit, nothing to lose."""
    metadata = state.metadata
    for event in granted:
        tokens, last = _grown(state, event, granted), state.crossed
        if isinstance(event, e.ConversationCreated | e.ConversationUpdated):
            metadata = event.metadata
            if _lowered(state, metadata, policy):
                tokens, last = state.tokens, 0
        if not tokens:
            continue
        budget = policy.budget(metadata, model=_model_after(state, event))
        if crossed(tokens=tokens, budget=budget, last=last):
            return (*granted, e.BudgetCrossed(tokens=tokens, budget=budget))
    return granted


def _grown(state: Conversation, event: e.Event, granted: tuple[e.Event, ...]) -> int:
    """Size of the next window, if ``event`` makes it larger; else 0."""
    match event:
        case e.ItemsAdded():
            tokens = tokens_after(state, event)
        case e.TurnCompleted() if len(granted) == 1:
            tokens = tokens_after(state, event)
        case e.ItemDeleted() | e.TurnCompleted():
            # Its summary went along, and has to be made again; one that was deleted by itself
            # was undone on purpose.
            tokens = _tokens_after_all(state, granted)
        case _:
            return 0
    return tokens if tokens > state.tokens else 0


def _tokens_after_all(state: Conversation, granted: tuple[e.Event, ...]) -> int:
    for event in granted:
        state = evolve(state, event, at=datetime.min.replace(tzinfo=UTC), sequence=0)
    return state.tokens


def _lowered(state: Conversation, metadata: Mapping[str, str], policy: Policy) -> bool:
    """Whether a conversation gets a smaller budget than it had."""
    model = last_model(state)
    before, after = (policy.budget(each, model=model) for each in (state.metadata, metadata))
    return after > 0 and (not before or after < before)


def _model_after(state: Conversation, event: e.Event) -> str:
    """The model whose turn has ended, or that was asked last before."""
    turn = state.turn_running(event.response_id) if isinstance(event, e.TurnCompleted) else None
    return turn.model if turn else last_model(state)
