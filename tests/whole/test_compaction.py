import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import openai
import pytest
from nats.aio.client import Client
from openai import OpenAI

from schemas import envelope, subjects
from schemas.events import ConversationCompacted
from services.model.rendering import SUMMARY_INTRODUCTION
from tests.summaries import wants_summary
from tests.whole.running import (
    MODEL,
    Running,
    folded,
    function,
    listed,
    message,
    names,
    output_of,
    standing,
    texts,
    until,
)

BUDGET = 400
FACT = "Parcel NL-4471-88 left Rotterdam on 2026-11-02 with three lamps for Rua do Salitre 12."


class Sent(msgspec.Struct):
    """What the model was sent."""

    input: list[msgspec.Raw]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """An instance whose budget a short talk crosses."""
    running = Running(tmp_path_factory.mktemp("small"), tokens_budget=str(BUDGET))
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture
def client(small: Running) -> Iterator[OpenAI]:
    with small.client() as sdk:
        yield sdk


def windows(running: Running, marker: str) -> list[list[bytes]]:
    """What answered turns of one test were sent, oldest first; summaries are not turns."""
    sent = [body for body in running.received_with(marker) if not wants_summary(json.loads(body))]
    return [[bytes(raw) for raw in msgspec.json.decode(body, type=Sent).input] for body in sent]


def compactions(running: Running, conversation_id: str) -> list[ConversationCompacted]:
    return [
        event
        for commit in running.commits(conversation_id)
        for event in map(envelope.unpack, envelope.decode(commit.payload).events)
        if isinstance(event, ConversationCompacted)
    ]


def talked_over_budget(running: Running, client: OpenAI, marker: str) -> str:
    """A conversation that was compacted once, and rests."""
    conversation = client.conversations.create()
    number = 0
    while "budget_crossed" not in running.events(conversation.id):
        assert number < 20
        client.responses.create(
            model=MODEL, input=f"{marker} {number}: {FACT}", conversation=conversation.id
        )
        number += 1
    until(lambda: compactions(running, conversation.id))
    return conversation.id


def test_a_window_over_budget_is_compacted(small: Running, client: OpenAI):
    conversation_id = talked_over_budget(small, client, "window")
    commits = small.commits(conversation_id)
    crossed = next(commit for commit in commits if "budget_crossed" in names(commit))
    assert names(crossed) == ["turn_completed", "budget_crossed"]
    assert names(commits[-1]) == ["conversation_compacted"]

    (compacted,) = compactions(small, conversation_id)
    state = folded(commits).state
    raws = standing(folded(commits))
    summary_item = raws[-1]
    before = windows(small, "window")[-1]
    with small.http() as http:
        assert listed(http, conversation_id) == raws
    assert json.loads(summary_item)["type"] == "compaction"
    assert [json.loads(raw)["role"] for raw in raws[:-1]] == ["user", "assistant"] * (
        len(raws) // 2
    )
    assert "NL-4471-88" in compacted.summary
    assert b"NL-4471-88" not in summary_item
    assert 0 < compacted.covered < len(raws)
    assert compacted.tokens_after < compacted.tokens_before

    client.responses.create(model=MODEL, input="window next", conversation=conversation_id)
    after = windows(small, "window next")[-1]
    assert texts(after[:1]) == [SUMMARY_INTRODUCTION + compacted.summary]
    assert json.loads(after[0])["role"] == "developer"
    said = [raw for raw in raws if json.loads(raw)["id"] in compacted.kept]
    assert {json.loads(raw)["role"] for raw in said} == {"user"}
    assert after[1:-1] == [*said, *raws[compacted.covered : -1]]
    # So small a budget has no room for all that the simulated model would tell.
    assert (compacted.method, compacted.fallback) in {("summary", ""), ("extractive", "no_gain")}
    assert 0 < compacted.anchors_found == compacted.anchors_kept
    assert texts(after[-1:]) == ["window next"]
    assert sum(map(len, after)) < sum(map(len, before))
    assert state.tokens < BUDGET


def test_deleting_a_compaction_restores_the_window(small: Running, client: OpenAI):
    conversation_id = talked_over_budget(small, client, "undone")
    raws = standing(small.fold(conversation_id))
    item_id = json.loads(raws[-1])["id"]

    client.conversations.items.delete(item_id, conversation_id=conversation_id)
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve(item_id, conversation_id=conversation_id)

    commits = small.commits(conversation_id)
    reverted = next(n for n, each in enumerate(commits) if "compaction_reverted" in names(each))
    state = folded(commits[: reverted + 1]).state
    assert [bytes(item.raw) for item in state.window()] == raws[:-1]


def test_a_compaction_that_was_deleted_is_not_made_again_at_once(small: Running, client: OpenAI):
    conversation_id = talked_over_budget(small, client, "again")
    raws = standing(small.fold(conversation_id))
    client.conversations.items.delete(json.loads(raws[-1])["id"], conversation_id=conversation_id)
    until(lambda: _compactor_rests(small))

    client.responses.create(model=MODEL, input="again at last", conversation=conversation_id)

    assert windows(small, "again at last")[-1][:-1] == raws[:-1]


def _compactor_rests(running: Running) -> bool:
    """Whether the compactor has acked every commit there is."""

    async def ask(client: Client) -> bool:
        info = await client.jetstream().consumer_info(subjects.CONVERSATIONS, subjects.COMPACTOR)
        return info.num_pending == 0 and info.num_ack_pending == 0

    return running.on_log(ask)


def test_a_deleted_item_is_in_no_summary_either(small: Running, client: OpenAI):
    conversation_id = talked_over_budget(small, client, "forget")
    (compacted,) = compactions(small, conversation_id)
    first = json.loads(standing(small.fold(conversation_id))[0])
    assert "forget 0" in compacted.summary

    client.conversations.items.delete(first["id"], conversation_id=conversation_id)
    client.responses.create(model=MODEL, input="forget at last", conversation=conversation_id)
    until(lambda: _compactor_rests(small))
    client.responses.create(model=MODEL, input="forget for good", conversation=conversation_id)

    for marker in ("forget at last", "forget for good"):
        window = b" ".join(windows(small, marker)[-1])
        assert b"forget 0" not in window
        assert b"NL-4471-88" in window


def test_items_added_by_hand_cross_the_budget_in_their_own_commit(small: Running, client: OpenAI):
    conversation = client.conversations.create()
    client.responses.create(model=MODEL, input="by hand", conversation=conversation.id)
    client.conversations.items.create(
        conversation.id,
        items=[message(f"{n} {FACT}", ("user", "assistant")[n % 2]) for n in range(20)],
    )
    until(lambda: compactions(small, conversation.id))
    commits = [names(commit) for commit in small.commits(conversation.id)]

    assert commits[-2:] == [["items_added", "budget_crossed"], ["conversation_compacted"]]


def test_turns_go_on_during_compactions(small: Running, client: OpenAI):
    tools = [function("look", what="string")]

    def talk(name: str) -> tuple[str, int]:
        """Id of a conversation that was compacted twice, and how often its user spoke."""
        conversation = client.conversations.create()
        for number in range(60):
            if number >= 14:
                until(lambda: _compactor_rests(small))
                if len(compactions(small, conversation.id)) >= 2:
                    return conversation.id, number
            order = ' [[call look {"what":"lamp"}]]' if number % 3 == 0 else ""
            response = client.responses.create(
                model=MODEL,
                input=f"{name} {number} {FACT}{order}",
                conversation=conversation.id,
                tools=tools,
            )
            if order:
                client.responses.create(
                    model=MODEL,
                    input=[output_of(response.output[0].call_id, f"{name} found {number}")],
                    conversation=conversation.id,
                    tools=tools,
                )
        raise AssertionError("was not compacted twice")

    with ThreadPoolExecutor(3) as pool:
        talks = [f"talk-{n}" for n in range(3)]
        talked = list(pool.map(talk, talks))

    for name, (conversation_id, spoken) in zip(talks, talked, strict=True):
        state = folded(small.commits(conversation_id)).state
        said = texts(standing(folded(small.commits(conversation_id))))
        mine = [text for text in said if text.startswith(f"{name} ") and FACT in text]
        assert [text.split()[1] for text in mine] == [str(number) for number in range(spoken)]
        sizes = []
        for window in windows(small, f"{name} "):
            _whole(window)
            sizes.append(len(window))
        assert max(sizes) < len(state.line)
        for compacted in compactions(small, conversation_id):
            assert compacted.tokens_after < compacted.tokens_before


def _whole(window: list[bytes]) -> None:
    """Every call in what the model was sent has its output, and comes before it."""
    waiting: list[str] = []
    for item in map(json.loads, window):
        if item["type"] == "function_call":
            waiting.append(item["call_id"])
        elif item["type"] == "function_call_output":
            waiting.remove(item["call_id"])
    assert waiting == []


def test_a_compaction_item_can_be_sent_elsewhere(small: Running, client: OpenAI):
    conversation_id = talked_over_budget(small, client, "elsewhere")
    (newest,) = client.conversations.items.list(conversation_id, limit=1).data
    assert newest.type == "compaction"

    client.responses.create(
        model=MODEL,
        input=[newest.model_dump(exclude_unset=True), message("carried over")],
        store=False,
    )

    (sent,) = windows(small, "carried over")
    assert "NL-4471-88" in texts(sent)[0]


def test_the_views_know_of_compactions(small: Running, client: OpenAI):
    conversation_id = talked_over_budget(small, client, "views")
    loaded = folded(small.commits(conversation_id))

    rows = small.sql(
        "SELECT item FROM items WHERE origin = 'compaction' "
        f"AND conversation_id = '{conversation_id}'"
    )
    tokens = small.sql(
        f"SELECT tokens FROM conversations WHERE conversation_id = '{conversation_id}'"
    )

    assert [row[0].encode() for row in rows] == standing(loaded)[-1:]
    assert tokens == [(loaded.state.tokens,)]
