"""A turn that was tried too often is told as the log has it."""

import json

import msgspec

from schemas.turn_requests import TurnRequest
from services import ids
from services.conversation import commands
from services.conversation.decide import Policy
from services.journal.conversations import Conversations
from services.journal.memory import MemoryJournal
from services.model.connect import model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.responder.answer_turn import TurnAnswerer
from services.responder.ask_model import ModelAsker
from services.responder.compact_in_turn import TurnSummariser
from services.responder.outcome import End, Refusal
from services.sealing import Sealer
from services.settings import ModelSettings
from tests.builders import raw

SEALER = Sealer(b"k" * 32)


async def test_a_turn_that_has_ended_is_told_as_it_ended():
    called = model(ModelSettings(model_url="http://127.0.0.1:9/v1"), SEALER)
    intake = Intake(Tokenizer(), SEALER)
    conversations = Conversations(MemoryJournal(), actor="responder", policy=Policy())
    asker = ModelAsker(called, TurnSummariser(called, intake, SEALER, tokens_budget=0))
    answerer = TurnAnswerer(conversations, asker, intake, name="responder")
    conversation_id = ids.conversation_id()
    request = TurnRequest(
        response_id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        body=msgspec.Raw(json.dumps({"model": "m", "input": "Hi"}).encode()),
    )

    unknown = await answerer.give_up("default", request, "why", told_before=0)
    assert isinstance(unknown, Refusal)

    requested = commands.RequestTurn(
        response_id=request.response_id,
        model="m",
        items=(),
        parameters=raw({}),
        on_line=False,
        parent=None,
        store=True,
    )
    completed = commands.CompleteTurn(
        response_id=request.response_id,
        attempt=1,
        status="completed",
        items=(),
        usage=raw(None),
        model="m",
        reason=None,
    )
    for number, command in enumerate((requested, completed)):
        await conversations.grant("default", conversation_id, command, command_id=str(number))

    ended = await answerer.give_up("default", request, "why", told_before=0)
    assert isinstance(ended, End)
    assert ended.status == "completed"
    assert ended.frame.startswith(b"event: response.completed\n")
    await called.aclose()
