"""Everything else that can be done with a session of the Agents SDK."""

import asyncio
import json
import sys
from typing import Any

import httpx2
import openai
import pytest
from agents import OpenAIConversationsSession
from openai import AsyncOpenAI

from tests.agents.received import normal, requests
from tests.agents.shop import TURNS, Shop, clerk, run
from tests.whole.running import MODEL, Running, own

LATER = """
import asyncio, sys
import agents
from openai import AsyncOpenAI

async def main(url: str, conversation_id: str) -> None:
    agents.set_tracing_disabled(True)
    async with AsyncOpenAI(base_url=url, api_key="any") as client:
        session = agents.OpenAIConversationsSession(
            conversation_id=conversation_id, openai_client=client
        )
        model = agents.OpenAIResponsesModel(model="simulator", openai_client=client)
        agent = agents.Agent(name="clerk", model=model)
        result = await agents.Runner.run(agent, "And who am I?", session=session)
        print(result.final_output)

asyncio.run(main(*sys.argv[1:]))
"""


def said(text: str, role: str = "user") -> dict[str, str]:
    return {"role": role, "content": text}


def texts(items: list) -> list[str]:
    return ["".join(part["text"] for part in normal(item)["content"]) for item in items]


@pytest.fixture
def session(client: AsyncOpenAI) -> OpenAIConversationsSession:
    return OpenAIConversationsSession(openai_client=client)


async def test_the_items_of_a_session_are_those_of_its_runs(
    client: AsyncOpenAI, session: OpenAIConversationsSession
):
    agent = clerk(client, Shop(), model="simulator-reasoning")
    made = []
    for text in TURNS[:3]:
        result = await run(agent, text, session=session)
        made += [said(text), *(each.to_input_item() for each in result.new_items)]

    kept = await session.get_items()

    assert [normal(item) for item in kept] == [normal(item) for item in made]
    assert all(item["id"] for item in kept)


async def test_a_session_takes_more_than_twenty_items_and_gives_all_or_the_newest(
    session: OpenAIConversationsSession,
):
    every = [f"n{number}" for number in range(47)]

    await session.add_items([said(text) for text in every])

    assert texts(await session.get_items()) == every
    for limit in (1, 7, 20, 21, 46, 47, 99):
        assert texts(await session.get_items(limit=limit)) == every[-limit:]


async def test_items_that_are_popped_are_in_no_later_window(
    running: Running, client: AsyncOpenAI, session: OpenAIConversationsSession
):
    agent = clerk(client, Shop(), model=MODEL)
    await run(agent, TURNS[0], session=session)
    second = await run(agent, "a slip of the tongue", session=session)

    popped = [await session.pop_item(), await session.pop_item()]
    running.forget_received()
    await run(agent, TURNS[1], session=session)

    assert texts(popped) == [second.final_output, "a slip of the tongue"]
    (first, *_) = requests(running)
    assert [item["role"] for item in first["input"]] == ["user", "assistant", "user"]
    assert texts(first["input"])[::2] == [TURNS[0], TURNS[1]]


async def test_a_cleared_session_is_gone_and_begins_anew(
    running: Running, client: AsyncOpenAI, session: OpenAIConversationsSession
):
    agent = clerk(client, Shop(), model=MODEL)
    await run(agent, TURNS[0], session=session)
    before = session.session_id

    await session.clear_session()
    running.forget_received()
    await run(agent, "who am I?", session=session)

    assert session.session_id != before
    assert texts(requests(running)[0]["input"]) == ["who am I?"]
    assert len(await session.get_items()) == 2
    assert await OpenAIConversationsSession(openai_client=client).pop_item() is None
    with pytest.raises(openai.NotFoundError):
        await OpenAIConversationsSession(conversation_id=before, openai_client=client).get_items()


async def test_a_session_is_resumed_by_its_id_in_another_process(
    running: Running, client: AsyncOpenAI, session: OpenAIConversationsSession
):
    agent = clerk(client, Shop(), model=MODEL)
    for text in TURNS[:3]:
        await run(agent, text, session=session)
    before = await session.get_items()
    running.forget_received()

    later = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LATER, f"{running.url}/v1", session.session_id),
        env=own(running.mark),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await later.communicate()

    assert later.returncode == 0
    assert b"You said: And who am I?" in told
    (sent,) = requests(running)
    assert sent["input"] == [normal(item) for item in [*before, said("And who am I?")]]
    resumed = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    assert await resumed.get_items() == await session.get_items()
    assert len(await resumed.get_items()) == len(before) + 2


async def test_a_run_on_a_busy_conversation_is_refused_and_gets_through_by_itself(
    running: Running, client: AsyncOpenAI
):
    conversation = await client.conversations.create()
    long = await client.responses.create(
        model=MODEL,
        input="[[hang]] busy",
        conversation=conversation.id,
        background=True,
    )
    refusals: list[dict[str, Any]] = []

    async def once_refused_free(answer: httpx2.Response) -> None:
        if answer.is_client_error:
            refusals.append(json.loads(await answer.aread())["error"])
            await client.responses.cancel(long.id)

    http = httpx2.AsyncClient(event_hooks={"response": [once_refused_free]})
    async with AsyncOpenAI(
        base_url=client.base_url, api_key="any", http_client=http, max_retries=0
    ) as hooked:
        agent = clerk(hooked, Shop(), model=MODEL)
        result = await run(agent, TURNS[1], conversation_id=conversation.id)

    # It may come again before the end of what was cancelled is known everywhere.
    assert {refusal["code"] for refusal in refusals} == {"conversation_locked"}
    assert result.final_output.startswith("I have read 4 items")
    assert (
        len(
            await OpenAIConversationsSession(
                conversation_id=conversation.id, openai_client=client
            ).get_items()
        )
        == 4
    )
    assert [TURNS[1] in str(sent["input"]) for sent in requests(running)] == [False, True, True]
