"""A turn that was tried too often ends as failed, and is told again as it ended."""

import json

import msgspec
import pytest

from schemas.turn_requests import TurnRequest
from services import ids
from services.conversation import commands
from services.conversation.budget import Policy
from services.journal.conversations import Conversations
from services.journal.memory import MemoryJournal
from services.model.connect import model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.responder.admission import TakenElsewhere
from services.responder.outcome import End
from services.sealing import Sealer
from services.settings import ModelSettings
from tests.builders import raw
from tests.responder.answering import answerer

SEALER = Sealer(b"k" * 32)


class Silent:
    """Deltas nobody may tell."""

    attempt = 1

    async def put(self, frame: bytes, *, number: int) -> None:
        raise AssertionError((frame, number))

    async def flush(self) -> None:
        raise AssertionError


async def test_a_turn_that_was_tried_too_often_is_given_up_once():
    called = model(ModelSettings(model_url="http://127.0.0.1:9/v1"), SEALER)
    conversations = Conversations(MemoryJournal(), actor="responder", policy=Policy())
    answering = answerer(conversations, called, Intake(Tokenizer(), SEALER), SEALER, attempts_max=1)
    conversation_id = ids.conversation_id()
    request = TurnRequest(
        response_id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        body=msgspec.Raw(json.dumps({"model": "m", "input": "Hi"}).encode()),
    )
    requested = commands.RequestTurn(
        response_id=request.response_id,
        model="m",
        items=(),
        parameters=raw({}),
        on_line=False,
        parent=None,
        store=True,
    )
    admission = f"{request.response_id}.requested.7.lost"
    await conversations.grant("default", conversation_id, requested, command_id=admission)

    with pytest.raises(TakenElsewhere):
        await answering.answer("default", request, Silent(), place=8)
    for first, given_up in ((True, True), (False, False)):
        ended = await answering.answer("default", request, Silent(), place=7, first=first)
        assert isinstance(ended, End)
        assert ended.status == "failed"
        assert ended.given_up is given_up
        assert ended.frame.startswith(b"event: response.failed\n")
    await called.aclose()
