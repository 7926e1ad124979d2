"""What a key stands for, however far the first request with it has come."""

import msgspec
import pytest

from schemas import deltas, subjects, turn_requests
from schemas.http.errors import KeyReused
from schemas.turn_requests import TurnRequest
from services import ids
from services.conversation import commands
from services.conversation.budget import Policy
from services.journal.claimed_turns import ClaimedTurns
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal
from services.journal.publishing import MESSAGE_ID
from tests.builders import raw

PROJECT = "default"


@pytest.fixture
def conversations(client):
    return Conversations(JetStreamJournal(client), actor="test", policy=Policy())


@pytest.fixture
def turns(client, conversations):
    return ClaimedTurns(client, conversations)


def request(body: bytes = b'{"model":"m","input":"Hi"}') -> TurnRequest:
    conversation_id = ids.conversation_id()
    return TurnRequest(
        response_id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        body=msgspec.Raw(body),
    )


async def test_the_first_with_a_key_is_told_so_however_often_it_asks(turns):
    first = request()
    for _ in range(2):
        claimed = await turns.claim(PROJECT, "first", first)
        assert (claimed.request, claimed.first) == (first, True)


async def test_one_of_which_nothing_is_known_may_be_sent_again_under_its_ids(turns):
    first, second = request(), request()
    await turns.claim(PROJECT, "unknown", first)
    claimed = await turns.claim(PROJECT, "unknown", second)
    assert claimed.request == msgspec.structs.replace(
        second, response_id=first.response_id, conversation_id=first.conversation_id
    )
    assert (claimed.first, claimed.asked, claimed.turn) == (False, False, None)


async def test_one_that_waits_on_the_queue_is_not_sent_again(client, turns):
    """Not even when the queue would not know it for a repeat any more."""
    first = request()
    await turns.claim(PROJECT, "waiting", first)
    await client.jetstream().publish(
        subjects.turn_request(PROJECT, first.conversation_id),
        turn_requests.encode(first),
        headers={MESSAGE_ID: first.response_id},
    )
    claimed = await turns.claim(PROJECT, "waiting", request())
    assert (claimed.request.response_id, claimed.asked) == (first.response_id, True)
    assert claimed.turn is None


async def test_one_whose_turn_began_is_found_in_the_log(turns, conversations):
    first = request()
    await turns.claim(PROJECT, "begun", first)
    requested = commands.RequestTurn(
        response_id=first.response_id,
        model="m",
        items=(),
        parameters=raw({}),
        on_line=False,
        parent=None,
        store=True,
    )
    await conversations.grant(PROJECT, first.conversation_id, requested, command_id="requested")
    claimed = await turns.claim(PROJECT, "begun", request())
    assert claimed.asked
    assert claimed.turn is not None
    assert claimed.turn.id == first.response_id


async def test_one_that_was_refused_is_not_stood_for_any_more(client, turns):
    first, second = request(), request()
    await turns.claim(PROJECT, "refused", first)
    await client.jetstream().publish(
        subjects.delta(PROJECT, first.response_id),
        b"{}",
        headers={deltas.KIND_HEADER: deltas.REFUSAL, deltas.STATUS_HEADER: "400"},
    )
    assert (await turns.claim(PROJECT, "refused", second)).first
    third = await turns.claim(PROJECT, "refused", request())
    assert third.request.response_id == second.response_id


async def test_another_body_is_refused(turns):
    await turns.claim(PROJECT, "another", request())
    with pytest.raises(KeyReused):
        await turns.claim(PROJECT, "another", request(b'{"model":"m","input":"Ho"}'))
