"""What is left of a conversation that was erased: that it was."""

import pytest

from schemas import events as e
from services.conversation import commands as c
from services.conversation.budget import Policy
from services.conversation.decide import decide
from services.conversation.refusals import (
    AttemptSuperseded,
    ConversationUnknown,
    PreviousResponseUnknown,
    Refused,
    ResponseUnknown,
)
from services.conversation.state import NEW, evolve
from services.conversation.visible import visible
from tests.builders import AT, added, complete, created, message, request, requested

ERASED = e.ConversationErased(commits=3, head="00", trail="00")


def erased():
    state = NEW
    for event in (created(a="b"), added(message("msg_1")), requested("resp_1"), ERASED):
        state = evolve(state, event, at=AT, sequence=1)
    return state


def test_whatever_was_known_before_is_not_known_any_more():
    state = erased()
    assert state == evolve(NEW, ERASED, at=AT, sequence=9)
    assert (state.exists, state.deleted, visible(state)) == (True, True, False)
    assert state.outline().items == 0
    assert state.outline().running is None


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (c.CreateConversation(), ConversationUnknown),
        (c.UpdateConversation(metadata={}), ConversationUnknown),
        (c.DeleteConversation(), ConversationUnknown),
        (c.AddItems(items=(message("msg_2"),)), ConversationUnknown),
        (c.DeleteItem(item_id="msg_1"), ConversationUnknown),
        (request("resp_2"), ConversationUnknown),
        (request("resp_2", on_line=False), ConversationUnknown),
        (request("resp_2", on_line=False, parent="resp_1"), PreviousResponseUnknown),
        (complete("resp_1"), AttemptSuperseded),
        (c.DeleteResponse(response_id="resp_1"), ResponseUnknown),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, tuple) else None,
)
def test_nothing_is_granted_after_it(command, refusal):
    with pytest.raises(Refused) as refused:
        decide(erased(), command, conversation_id="conv_1", policy=Policy())
    assert type(refused.value) is refusal
