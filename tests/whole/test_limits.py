"""Windows that are longer than their model is known to take, and whose budget is crossed."""

import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from schemas import envelope
from schemas.events import BudgetCrossed, ConversationCompacted, TurnCompleted
from services.model.rendering import SUMMARY_INTRODUCTION
from tests.whole.running import MODEL, Running, folded, function, listed, message, standing, until

WINDOW, OUTPUT = 1_500, 100
LIMITED = "limited-model"
"""The simulator answers by any name, and takes windows of any length."""
PROJECT_BUDGET = 700
TOO_LONG = {
    "message": "Your input exceeds the context window of this model. Please adjust your input "
    "and try again.",
    "type": "invalid_request_error",
    "param": "input",
    "code": "context_length_exceeded",
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """An instance that knows a model, and whose one project has a budget of its own."""
    running = Running(
        tmp_path_factory.mktemp("limited"),
        models=f"{LIMITED}={WINDOW}/{OUTPUT},roomy={WINDOW}",
        tokens_budget="100",
        project_budgets=f"default={PROJECT_BUDGET},other=10",
    )
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture
def client(limited: Running) -> Iterator[OpenAI]:
    with limited.client() as sdk:
        yield sdk


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """What the requests of one test can be found by."""
    return f"MARK-{zlib.crc32(request.node.name.encode()):08x}"


def long(mark: str, words: int = 300) -> str:
    """So many tokens, and a few."""
    return f"{mark} " + "word " * words


def talk(mark: str, turns: int = 3, words: int = 300) -> list[dict[str, Any]]:
    return [message(long(f"{mark}-{n}", words), ("user", "assistant")[n % 2]) for n in range(turns)]


def kept_whole(client: OpenAI, items: list[dict[str, Any]], *, budget: int = 100_000) -> str:
    """A conversation that is not compacted before it has to be."""
    metadata = {"turnlog.token_budget": str(budget)}
    return client.conversations.create(items=items, metadata=metadata).id


def sent(running: Running, text: str) -> list[dict[str, Any]]:
    """Bodies of turns, not of summaries."""
    bodies = map(json.loads, running.received_with(text))
    return [body for body in bodies if "Summarise the conv" not in json.dumps(body["input"][-1])]


def events(running: Running, conversation_id: str, *kinds: type[Any]) -> list[Any]:
    found = [
        event
        for commit in running.commits(conversation_id)
        for event in map(envelope.unpack, envelope.decode(commit.payload).events)
    ]
    return [event for event in found if isinstance(event, kinds)]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("store", [False, True], ids=["unstored", "stored"])
def test_an_array_that_is_too_long_is_refused_before_the_model_is_called(
    limited: Running, client: OpenAI, mark: str, stream: bool, store: bool
):
    given = {"input": talk(mark, 6), "stream": stream, "store": store}
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(model=LIMITED, **given)
    assert refused.value.body == TOO_LONG
    assert not limited.received_with(mark)
    # A model nobody knows is its server's to judge.
    answer = client.responses.create(model=MODEL, **given)
    if stream:
        with answer as told:
            answer = list(told)[-1].response
    assert answer.status == "completed"


def test_in_the_background_the_response_says_so(limited: Running, client: OpenAI, mark: str):
    running = client.responses.create(model=LIMITED, input=talk(mark, 6), background=True)
    until(lambda: client.responses.retrieve(running.id).status == "failed")
    failed = client.responses.retrieve(running.id)
    assert failed.error.code == "context_length_exceeded"
    assert not limited.received_with(mark)


def test_what_stands_beside_items_takes_room_as_well(limited: Running, client: OpenAI, mark: str):
    tools = [function("look_up", name="string") | {"description": long(mark, 700)}]
    for more in ({"instructions": long(mark, 700)}, {"tools": tools}):
        with pytest.raises(BadRequestError) as refused:
            client.responses.create(model=LIMITED, input=talk(mark), **more)
        assert refused.value.body == TOO_LONG
    assert not limited.received_with(mark)
    client.responses.create(model=LIMITED, input=talk(mark), instructions="Be terse.")
    assert len(limited.received_with(mark)) == 1


def test_an_answer_has_the_room_it_asks_for(limited: Running, client: OpenAI, mark: str):
    given = {"model": "roomy", "input": talk(mark)}
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(**given, max_output_tokens=700)
    assert refused.value.body == TOO_LONG
    assert not limited.received_with(mark)
    client.responses.create(**given, max_output_tokens=500)
    # No answer is longer than the model's longest.
    client.responses.create(**given | {"model": LIMITED}, max_output_tokens=700)


@pytest.mark.parametrize("chained", [False, True], ids=["conversation", "chain"])
def test_history_that_is_too_long_is_compacted_within_the_turn(
    limited: Running, client: OpenAI, mark: str, chained: bool
):
    if chained:
        first = client.responses.create(model=MODEL, input=talk(mark, 7))
        where = {"previous_response_id": first.id}
    else:
        where = {"conversation": kept_whole(client, talk(mark, 6))}
    answer = client.responses.create(model=LIMITED, input=f"{mark} next", **where)
    assert [item.type for item in answer.output] == ["compaction", "message"]
    window = sent(limited, f"{mark} next")[-1]["input"]
    assert [item["role"] for item in window] == ["developer", "user"]
    assert window[0]["content"][0]["text"].startswith(SUMMARY_INTRODUCTION)
    # It is the window of the next turn as well.
    where = {"previous_response_id": answer.id} if chained else where
    client.responses.create(model=LIMITED, input=f"{mark} last", **where)
    later = sent(limited, f"{mark} last")[-1]["input"]
    assert later[: len(window)] == window
    if not chained:
        (done,) = events(limited, where["conversation"], TurnCompleted)[:1]
        assert done.compaction.tokens_before > WINDOW > done.compaction.tokens_after
        with limited.http() as http:
            raws = listed(http, where["conversation"])
        assert raws == standing(folded(limited.commits(where["conversation"])))
        assert len(raws) == 6 + 3 + 2


def test_a_stream_tells_of_it_in_the_contracts_order(client: OpenAI, mark: str):
    conversation_id = kept_whole(client, talk(mark, 6))
    with client.responses.create(
        model=LIMITED, input=f"{mark} next", conversation=conversation_id, stream=True
    ) as told:
        types = [event.type for event in told]
    assert types[:6] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.compaction.compacting",
        "response.output_item.done",
        "response.output_item.added",
    ]
    assert types[-1] == "response.completed"


def test_a_turn_that_lets_its_oldest_items_go_loses_them_at_once(
    limited: Running, client: OpenAI, mark: str
):
    conversation_id = kept_whole(client, talk(mark, 8), budget=0)
    given = {"model": LIMITED, "conversation": conversation_id}
    answer = client.responses.create(**given, input=f"{mark} next", truncation="auto")
    assert [item.type for item in answer.output] == ["message"]
    (asked,) = sent(limited, f"{mark} next")
    texts = [item["content"][0]["text"].split()[0] for item in asked["input"]]
    assert texts == [*(f"{mark}-{n}" for n in range(8 - len(texts) + 1, 8)), mark]
    assert 3 <= len(texts) < 6
    # What was left out still counts, whatever the model's server has counted.
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(**given, input=f"{mark} last")
    assert refused.value.body == TOO_LONG
    assert not sent(limited, f"{mark} last")


def test_a_conversation_that_is_never_to_be_compacted_is_refused(
    limited: Running, client: OpenAI, mark: str
):
    conversation_id = kept_whole(client, talk(mark, 6), budget=0)
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(model=LIMITED, input="next", conversation=conversation_id)
    assert refused.value.body == TOO_LONG
    assert not limited.received_with(mark)
    assert len(client.conversations.items.list(conversation_id).data) == 6
    # Unless a turn asks for it.
    answer = client.responses.create(
        model=LIMITED,
        input="next",
        conversation=conversation_id,
        context_management=[{"type": "compaction", "compact_threshold": 100_000}],
    )
    assert [item.type for item in answer.output] == ["compaction", "message"]


def test_new_input_that_alone_is_too_long_is_refused_without_a_summary(
    limited: Running, client: OpenAI, mark: str
):
    conversation_id = kept_whole(client, talk(mark))
    for truncation in ("auto", "disabled"):
        with pytest.raises(BadRequestError) as refused:
            client.responses.create(
                model=LIMITED,
                input=long(mark, 2_000),
                conversation=conversation_id,
                truncation=truncation,
            )
        assert refused.value.body == TOO_LONG
    assert not limited.received_with(mark)
    client.responses.create(model=LIMITED, input="next", conversation=conversation_id)


# Budgets


def test_the_budget_of_the_project_is_crossed(limited: Running, client: OpenAI, mark: str):
    conversation = client.conversations.create(items=talk(mark, 2))
    client.responses.create(model=MODEL, input=long(mark), conversation=conversation.id)
    until(lambda: events(limited, conversation.id, ConversationCompacted))
    (crossed,) = events(limited, conversation.id, BudgetCrossed)
    assert (crossed.budget, crossed.tokens > PROJECT_BUDGET) == (PROJECT_BUDGET, True)


def test_the_budget_of_a_conversation_counts_before_that_of_its_project(
    limited: Running, client: OpenAI, mark: str
):
    large = kept_whole(client, talk(mark, 6), budget=3_000)
    small = kept_whole(client, talk(mark, 2, 100), budget=300)
    for each in (large, small):
        client.responses.create(model=MODEL, input=long(mark, 150), conversation=each)
    until(lambda: events(limited, small, ConversationCompacted))
    (crossed,) = events(limited, small, BudgetCrossed)
    assert crossed.budget == 300
    # The compactor has kept to it: of the project's budget all of this would be a recent share.
    assert [item.type for item in limited.fold(small).state.window()] == ["compaction"]
    assert not events(limited, large, BudgetCrossed)
    assert client.conversations.retrieve(large).metadata == {"turnlog.token_budget": "3000"}


def test_a_smaller_budget_is_crossed_by_being_set(limited: Running, client: OpenAI, mark: str):
    conversation_id = kept_whole(client, talk(mark, 4))
    client.responses.create(model=MODEL, input=mark, conversation=conversation_id)
    client.conversations.update(conversation_id, metadata={"turnlog.token_budget": "1000"})
    until(lambda: events(limited, conversation_id, ConversationCompacted))
    assert limited.events(conversation_id)[-3:] == [
        "conversation_updated",
        "budget_crossed",
        "conversation_compacted",
    ]


def test_a_budget_no_model_could_keep_is_that_of_the_model(
    limited: Running, client: OpenAI, mark: str
):
    conversation_id = kept_whole(client, talk(mark, 3))
    client.responses.create(model=LIMITED, input=long(mark), conversation=conversation_id)
    until(lambda: events(limited, conversation_id, ConversationCompacted))
    (crossed,) = events(limited, conversation_id, BudgetCrossed)
    assert crossed.budget == WINDOW * 3 // 4


@pytest.mark.parametrize("written", ["", "-1", "1.5", "many", " 5", "1e3", "٣", "9" * 10])
def test_a_budget_that_is_no_number_is_refused(client: OpenAI, written: str):
    conversation = client.conversations.create()
    metadata = {"topic": "x", "turnlog.token_budget": written}
    for ask in (
        lambda: client.conversations.create(metadata=metadata),
        lambda: client.conversations.update(conversation.id, metadata=metadata),
    ):
        with pytest.raises(BadRequestError) as refused:
            ask()
        assert refused.value.body == {
            "message": f"Invalid 'metadata.turnlog.token_budget': '{written}'. Expected a whole "
            "number of tokens below 1000000000, or '0' for none.",
            "type": "invalid_request_error",
            "param": "metadata.turnlog.token_budget",
            "code": "invalid_value",
        }


def test_what_is_counted_beforehand_is_what_the_turn_then_holds(
    limited: Running, client: OpenAI, mark: str
):
    conversation_id = kept_whole(client, talk(mark, 2, 20))
    for model in (LIMITED, "gpt-4o", "gpt-4", MODEL):
        given = {"model": model, "input": f"{mark} お誕生日おめでとう", "tools": []}
        where = {"conversation": conversation_id}
        counted = client.responses.input_tokens.count(**given, **where).input_tokens
        before = sum(item.tokens for item in limited.fold(conversation_id).state.window())
        answer = client.responses.create(**given, **where)
        turn = limited.fold(conversation_id).state.turns.get(answer.id)
        assert turn is not None
        assert counted == before + sum(item.tokens for item in turn.input)
