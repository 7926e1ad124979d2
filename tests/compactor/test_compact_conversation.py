"""What becomes of crossings whose conversation, model or window is not as it should be."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec
import pytest

from services import ids
from services.compaction import connect
from services.compactor.app import retry_wait_s
from services.compactor.compact_conversation import Compacted, ConversationCompactor
from services.conversation import commands as c
from services.conversation.budget import Policy
from services.journal.conversations import Conversations
from services.journal.memory import MemoryJournal
from services.model.connect import model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer
from services.settings import ModelSettings
from tests.upstream import HOLD, Said, ScriptedUpstream, body, serving
from tests.whole.running import until

SEALER = Sealer(bytes(32))
PROJECT = "default"
BUDGET = 400
MODEL = "m"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with serving() as scripted:
        yield scripted


class Place:
    """A log, and the compactor of one process over it."""

    def __init__(self, upstream: ScriptedUpstream, method: str, model_name: str) -> None:
        settings = ModelSettings(model_url=upstream.url, compaction_method=method)
        self.model = model(settings, SEALER)
        self.intake = Intake(Tokenizer(), SEALER)
        self.conversations = Conversations(
            MemoryJournal(), actor="compactor", policy=Policy(tokens_budget=BUDGET)
        )
        self.compactor = ConversationCompactor(
            self.conversations,
            connect.summariser(settings, self.model, SEALER, Tokenizer()),
            SEALER,
            shrink_share=0.2,
            model_name=model_name,
        )

    async def do(self, conversation_id: str, command: c.Command) -> None:
        await self.conversations.grant(PROJECT, conversation_id, command, command_id=ids.unique())

    async def talked(self, mark: str) -> str:
        """A conversation that has crossed its budget before any model was asked."""
        conversation_id = ids.conversation_id()
        await self.do(conversation_id, c.CreateConversation(metadata={}))
        await self.more(conversation_id, mark)
        return conversation_id

    async def more(self, conversation_id: str, mark: str) -> None:
        """Say as much as crosses the budget."""
        for number in range(20):
            text = f"{mark} {number}. " + "It is large and heavy. " * 5
            values = [msgspec.Raw(json.dumps({"role": "user", "content": text}).encode())]
            items = await self.intake.take(values, "items")
            await self.do(conversation_id, c.AddItems(items=items))

    async def compacted(self, conversation_id: str) -> Compacted:
        return await self.compactor.compact(PROJECT, conversation_id)

    async def tokens(self, conversation_id: str) -> int:
        return (await self.conversations.load(PROJECT, conversation_id)).state.tokens


@pytest.fixture
async def place(upstream: ScriptedUpstream) -> AsyncIterator[Callable[..., Place]]:
    """Makes a log and its compactor."""
    places: list[Place] = []

    def make(*, method: str = "summary", model_name: str = MODEL) -> Place:
        places.append(Place(upstream, method, model_name))
        return places[-1]

    yield make
    for each in places:
        await each.model.aclose()


def answer(text: str) -> Said:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    item = {"id": "msg_9", "type": "message", "role": "assistant", "content": [part]}
    done = {"status": "completed", "model": "m", "output": [{**item, "status": "completed"}]}
    return body(done)


async def test_a_conversation_that_is_gone_is_not_summarised(
    place: Callable[..., Place], upstream: ScriptedUpstream
):
    at = place()
    upstream.plan("gone", answer("It is large."))
    conversation_id = await at.talked("gone")
    await at.do(conversation_id, c.DeleteConversation())
    assert (await at.compacted(conversation_id)).reason == "deleted"
    assert upstream.asked("gone") == []


async def test_a_conversation_deleted_while_it_is_summarised_is_let_go(
    place: Callable[..., Place], upstream: ScriptedUpstream
):
    at = place()
    said = answer("It is large.")
    upstream.hold()
    upstream.plan("going", Said(chunks=(HOLD, *said.chunks)))
    conversation_id = await at.talked("going")
    compacting = asyncio.create_task(at.compacted(conversation_id))
    await asyncio.to_thread(until, lambda: upstream.asked("going"))
    await at.do(conversation_id, c.DeleteConversation())
    upstream.release()
    assert (await asyncio.wait_for(compacting, 20)).reason == "deleted"
    assert len(upstream.asked("going")) == 1


def test_what_fails_each_time_is_tried_ever_less_often():
    assert [retry_wait_s(delivered) for delivered in (1, 2, 3, 11, 10**9)] == [
        *(5.0, 10.0, 20.0),
        *(3600.0, 3600.0),
    ]


@pytest.mark.parametrize("method", ["summary", "extractive", "upstream"])
async def test_before_its_first_turn_a_conversation_is_compacted_without_a_model(
    place: Callable[..., Place], upstream: ScriptedUpstream, method: str
):
    at = place(method=method, model_name="")
    conversation_id = await at.talked(f"early {method}")
    done = await at.compacted(conversation_id)
    fallback = "" if method == "extractive" else "no_model"
    assert (done.reason, done.method, done.fallback) == ("", "extractive", fallback)
    assert await at.tokens(conversation_id) < BUDGET
    assert upstream.asked(f"early {method}") == []


async def test_a_summary_that_only_an_upstream_reads_is_replaced_by_what_was_once_said(
    place: Callable[..., Place], upstream: ScriptedUpstream
):
    at = place(method="upstream")
    sealed = {"id": "cmp_x", "type": "compaction", "encrypted_content": "opaque"}
    made = {"output": [sealed], "usage": {"output_tokens": 90}}
    too_large = {"output": [sealed], "usage": {"output_tokens": 9_000}}
    upstream.plan("sealed", body(made), body(too_large))
    conversation_id = await at.talked("sealed")
    assert (await at.compacted(conversation_id)).method == "upstream"
    await at.more(conversation_id, "sealed again")
    done = await at.compacted(conversation_id)
    assert (done.reason, done.method, done.fallback) == ("", "extractive", "no_gain")
    assert await at.tokens(conversation_id) < BUDGET
