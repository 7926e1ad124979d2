"""The session of the Agents SDK that keeps its history here and has the server shorten it."""

from typing import Any

import msgspec
import pytest
from agents import SQLiteSession
from agents.memory import OpenAIResponsesCompactionSession
from agents.memory.openai_responses_compaction_session import (
    DEFAULT_COMPACTION_THRESHOLD,
    OpenAIResponsesCompactionMode,
    select_compaction_candidate_items,
)
from openai import AsyncOpenAI

from tests.agents.received import Sent, normal, requests
from tests.agents.shop import TURNS, Shop, clerk, run
from tests.whole.running import Running

MODEL = "gpt-4.1"
COMPACTIONS_AFTER = [4, 6, 10]
"""Turns whose end the SDK's default rule finds long enough."""


class Told(msgspec.Struct, frozen=True):
    """A run of all turns, its history after each, and what its model received meanwhile."""

    answers: list[str]
    histories: list[list[dict[str, Any]]]
    received: list[Sent]


async def by_own_history(running: Running, client: AsyncOpenAI) -> Told:
    """The run that keeps its items itself, sends them whole, and has them compacted as items."""
    agent = clerk(client, Shop(), model=MODEL)
    history: list[Any] = []
    answers, histories = [], []
    for said in TURNS:
        result = await run(agent, [*history, {"role": "user", "content": said}])
        history = result.to_input_list()
        if len(select_compaction_candidate_items(history)) >= DEFAULT_COMPACTION_THRESHOLD:
            compacted = await client.responses.compact(model=MODEL, input=history)
            history = [
                item.model_dump(exclude_unset=True, warnings=False) for item in compacted.output
            ]
        answers.append(result.final_output)
        histories.append([comparable(item) for item in history])
    return Told(answers, histories, requests(running))


async def by_session(
    running: Running,
    client: AsyncOpenAI,
    *,
    streamed: bool,
    mode: OpenAIResponsesCompactionMode = "auto",
    store: bool | None = None,
) -> Told:
    session = OpenAIResponsesCompactionSession(
        "shop", SQLiteSession("shop"), client=client, model=MODEL, compaction_mode=mode
    )
    agent = clerk(client, Shop(), model=MODEL, store=store)
    answers, histories = [], []
    for said in TURNS:
        result = await run(agent, said, streamed=streamed, session=session)
        answers.append(result.final_output)
        histories.append([comparable(dict(item)) for item in await session.get_items()])
    return Told(answers, histories, requests(running))


def comparable(item: dict[str, Any]) -> dict[str, Any]:
    """Its normal form; a compaction's sealed text is never the same twice, and left out."""
    return {key: value for key, value in normal(item).items() if key != "encrypted_content"}


async def test_a_session_that_is_compacted_is_as_one_that_compacts_itself(
    running: Running, client: AsyncOpenAI
):
    own = await by_own_history(running, client)
    for streamed in (False, True):
        running.forget_received()

        told = await by_session(running, client, streamed=streamed)

        assert told == own


@pytest.mark.parametrize(
    ("mode", "store", "streamed"),
    [
        ("auto", False, False),
        ("input", None, True),
        ("previous_response_id", True, False),
    ],
)
async def test_it_is_the_same_however_the_session_has_it_compacted(
    running: Running,
    client: AsyncOpenAI,
    mode: OpenAIResponsesCompactionMode,
    store: bool | None,
    streamed: bool,
):
    own = await by_own_history(running, client)
    running.forget_received()

    assert await by_session(running, client, streamed=streamed, mode=mode, store=store) == own


async def test_a_session_is_compacted_when_it_is_told_to(running: Running, client: AsyncOpenAI):
    session = OpenAIResponsesCompactionSession(
        "shop", SQLiteSession("shop"), client=client, model=MODEL
    )
    agent = clerk(client, Shop(), model=MODEL)
    await run(agent, TURNS[3], session=session)

    await session.run_compaction({"force": True})

    assert [dict(item)["type"] for item in await session.get_items()] == ["message", "compaction"]
    running.forget_received()
    await run(agent, "What was my number?", session=session)
    (sent,) = requests(running)
    assert "#12345" in sent["input"][1]["content"][0]["text"]


async def test_what_was_compacted_is_remembered(running: Running, client: AsyncOpenAI):
    told = await by_session(running, client, streamed=False)

    kinds = [[item["type"] for item in history] for history in told.histories]
    assert [turn for turn, each in enumerate(kinds, 1) if each[-1:] == ["compaction"]] == (
        COMPACTIONS_AFTER
    )
    for turn in COMPACTIONS_AFTER:
        assert kinds[turn - 1] == ["message"] * turn + ["compaction"]
        kept = [item["content"][0]["text"] for item in told.histories[turn - 1][:-1]]
        assert kept == list(TURNS[:turn])
    last = told.received[-2]["input"]
    assert [item["role"] for item in last[:7]] == ["user"] * 6 + ["developer"]
    assert "#12345" in last[6]["content"][0]["text"]
