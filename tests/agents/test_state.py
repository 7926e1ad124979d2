"""Four ways of the Agents SDK to keep state, each against the same agent that keeps its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from agents import OpenAIConversationsSession
from openai import AsyncOpenAI

from tests.agents.received import Sent, requests
from tests.agents.shop import TURNS, Shop, clerk, run
from tests.whole.running import MODEL, Running

REASONING = "simulator-reasoning"
Way = Callable[..., AsyncIterator[str]]


class Told(msgspec.Struct, frozen=True):
    """A run of all turns: what the agent answered, what its tools did, what its model received."""

    answers: list[str]
    called: list[str]
    left: dict[str, int]
    received: list[Sent]


@pytest.fixture(scope="module")
def stateless(shared: Running) -> dict[str, Told]:
    """The run that keeps its history itself and asks the model without anything in between."""

    async def told(model: str) -> Told:
        shared.forget_received()
        history: list[Any] = []
        answers, shop = [], Shop()
        async with AsyncOpenAI(base_url=shared.simulator_url, api_key="any") as direct:
            agent = clerk(direct, shop, model=model)
            for said in TURNS:
                result = await run(agent, [*history, {"role": "user", "content": said}])
                history = result.to_input_list()
                answers.append(result.final_output)
        return Told(answers, shop.called, shop.left, requests(shared))

    return {model: asyncio.run(told(model)) for model in (MODEL, REASONING)}


async def by_session(client: AsyncOpenAI, agent: Any, *, streamed: bool) -> AsyncIterator[str]:
    session = OpenAIConversationsSession(openai_client=client)
    for said in TURNS:
        yield (await run(agent, said, streamed=streamed, session=session)).final_output


async def by_conversation(client: AsyncOpenAI, agent: Any, *, streamed: bool) -> AsyncIterator[str]:
    conversation = await client.conversations.create()
    for said in TURNS:
        result = await run(agent, said, streamed=streamed, conversation_id=conversation.id)
        yield result.final_output


async def by_previous_response(
    client: AsyncOpenAI, agent: Any, *, streamed: bool
) -> AsyncIterator[str]:
    first = await run(agent, TURNS[0], streamed=streamed)
    yield first.final_output
    last = first.last_response_id
    assert await client.responses.retrieve(last)
    for said in TURNS[1:]:
        result = await run(agent, said, streamed=streamed, previous_response_id=last)
        last = result.last_response_id
        yield result.final_output


async def by_automatic_response(
    _client: AsyncOpenAI, agent: Any, *, streamed: bool
) -> AsyncIterator[str]:
    state: dict[str, Any] = {"auto_previous_response_id": True}
    for said in TURNS:
        result = await run(agent, said, streamed=streamed, **state)
        state["previous_response_id"] = result.last_response_id
        yield result.final_output


@pytest.mark.parametrize(("streamed", "model"), [(False, MODEL), (True, REASONING)])
@pytest.mark.parametrize(
    "way", [by_session, by_conversation, by_previous_response, by_automatic_response]
)
async def test_the_model_receives_what_a_client_with_its_own_history_would_send(
    stateless: dict[str, Told],
    running: Running,
    client: AsyncOpenAI,
    way: Way,
    *,
    streamed: bool,
    model: str,
):
    shop = Shop()

    agent = clerk(client, shop, model=model)
    answers = [answer async for answer in way(client, agent, streamed=streamed)]

    assert Told(answers, shop.called, shop.left, requests(running)) == stateless[model]


def test_the_run_that_is_compared_with_is_worth_it(stateless: dict[str, Told]):
    for model, told in stateless.items():
        kinds = [item["type"] for item in told.received[-1]["input"]]
        outputs = [
            item["output"]
            for item in told.received[-1]["input"]
            if item["type"] == "function_call_output"
        ]
        assert len(told.answers) == len(TURNS) == 10
        assert kinds.count("message") == 19
        assert kinds.count("reasoning") == (0 if model == MODEL else len(told.received) - 1)
        assert len(outputs) == len(set(outputs)) == len(told.called) == 10
        assert sum("An error occurred" in output for output in outputs) == 1
        assert told.left == {"lamp": 4, "chair": 3}
