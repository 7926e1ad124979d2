"""Turns that make their window smaller, before the model answers or instead of it."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from schemas import envelope
from schemas.events import TurnCompaction, TurnCompleted
from services.model.rendering import SUMMARY_INTRODUCTION
from tests.summaries import wants_summary
from tests.whole.running import (
    MODEL,
    Running,
    folded,
    function,
    listed,
    message,
    output_of,
    standing,
    texts,
    until,
)
from tests.whole.strict import strictly

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"
MANAGED = [{"type": "compaction", "compact_threshold": 1000}]
TRIGGER = {"type": "compaction_trigger"}
FACT = "Parcel NL-4471-88 left Rotterdam on 2026-11-02."


@pytest.fixture
def client(shared: Running) -> Iterator[OpenAI]:
    with shared.client() as sdk:
        yield sdk


@pytest.fixture
def http(shared: Running) -> Iterator[httpx2.Client]:
    with shared.http() as bytes_as_they_come:
        yield bytes_as_they_come


@pytest.fixture
def mark() -> str:
    """A word that finds one test's requests to the model."""
    return secrets.token_hex(5)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_bytes())


def dump(items: Any) -> list[dict[str, Any]]:
    """Items as a client sends them on."""
    return [item.model_dump(exclude_unset=True) for item in items]


def windows(running: Running, mark: str) -> list[list[dict[str, Any]]]:
    """What was sent to be answered, oldest first; requests for summaries are not."""
    bodies = [json.loads(body) for body in running.received_with(mark)]
    return [body["input"] for body in bodies if not wants_summary(body)]


def summarised(running: Running, mark: str) -> list[list[dict[str, Any]]]:
    """What was sent to be summarised, without the request to do so."""
    bodies = [json.loads(body) for body in running.received_with(mark)]
    return [body["input"][:-1] for body in bodies if wants_summary(body)]


def told(window: list[dict[str, Any]]) -> list[str]:
    return texts(json.dumps(item).encode() for item in window)


def long_talk(mark: str) -> str:
    """What is answered with more than a thousand tokens."""
    return f"{mark} one. {FACT} [[words 1200]]"


def conversation(client: OpenAI, mark: str) -> str:
    """One whose window is above the threshold."""
    made = client.conversations.create()
    client.responses.create(model=MODEL, input=long_talk(mark), conversation=made.id)
    return made.id


def compaction_of(running: Running, conversation_id: str) -> TurnCompaction | None:
    """What the newest turn that completed says it summarised."""
    ended = [
        event
        for commit in running.commits(conversation_id)
        for event in map(envelope.unpack, envelope.decode(commit.payload).events)
        if isinstance(event, TurnCompleted)
    ]
    return ended[-1].compaction


def events_of(http: httpx2.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream, each as strict as the SDK's types are."""
    with http.stream("POST", "/v1/responses", json={**body, "stream": True}) as answer:
        assert answer.status_code == 200, answer.read()
        payload = answer.read()
    data = [part.split(b"data: ")[1] for part in payload.split(b"\n\n") if b"data: " in part]
    for event in data:
        strictly(ResponseStreamEvent, event)
    events = [json.loads(event) for event in data]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Types of events, each run of one type once."""
    names = [event["type"] for event in events]
    return [name for place, name in enumerate(names) if names[place - 1 : place] != [name]]


def keys(value: Any) -> Any:
    return {name: keys(inner) for name, inner in value.items()} if isinstance(value, dict) else None


# A conversation


def test_a_window_above_the_threshold_is_told_as_the_contract_tells_it(
    client: OpenAI, http: httpx2.Client, mark: str
):
    conversation_id = conversation(client, mark)
    events = events_of(
        http,
        {
            "model": MODEL,
            "input": f"{mark} two",
            "conversation": conversation_id,
            "context_management": MANAGED,
        },
    )
    expected = sample("stream_auto_compaction")
    assert kinds(events) == kinds(expected)
    first = {event["type"]: event for event in reversed(expected)}
    for event in events[2:5]:
        assert list(event) == list(first[event["type"]])
        assert event["output_index"] == 0
    added, progress, done = events[2:5]
    assert added["item"] == {**added["item"], "type": "compaction", "encrypted_content": ""}
    assert list(added["item"]) == list(done["item"]) == ["id", "type", "encrypted_content"]
    assert added["item"]["id"] == progress["item_id"] == done["item"]["id"]
    assert done["item"]["encrypted_content"]
    ended = events[-1]["response"]
    assert ended["output"][0] == done["item"]
    assert [item["type"] for item in ended["output"]] == ["compaction", "message"]
    assert {event.get("output_index") for event in events[5:-1]} == {1}
    strictly(Response, json.dumps(ended).encode())


def test_the_sdks_state_machine_takes_it(client: OpenAI, mark: str):
    conversation_id = conversation(client, mark)
    with client.responses.stream(
        model=MODEL,
        input=f"{mark} two",
        conversation=conversation_id,
        context_management=MANAGED,
    ) as stream:
        seen = [event.type for event in stream]
        final = stream.get_final_response()
    assert seen.count("response.compaction.compacting") == 1
    assert [item.type for item in final.output] == ["compaction", "message"]
    assert final.output_text
    kept = client.responses.retrieve(final.id)
    assert kept.output[0].to_dict() == final.output[0].to_dict()
    assert (kept.output_text, kept.usage) == (final.output_text, final.usage)


def test_the_history_before_the_input_is_summarised_and_the_next_window_starts_there(
    shared: Running, client: OpenAI, http: httpx2.Client, mark: str
):
    conversation_id = conversation(client, mark)
    before = standing(shared.fold(conversation_id))
    response = client.responses.create(
        model=MODEL,
        input=f"{mark} two",
        conversation=conversation_id,
        context_management=MANAGED,
    )
    assert [item.type for item in response.output] == ["compaction", "message"]
    assert response.usage.total_tokens < 1000
    compaction = compaction_of(shared, conversation_id)
    assert compaction is not None
    assert compaction.item_id == response.output[0].id
    assert (compaction.covered, compaction.method, compaction.fallback) == (2, "summary", "")
    assert compaction.kept == (json.loads(before[0])["id"],)
    assert 0 < compaction.anchors_found == compaction.anchors_kept
    assert "NL-4471-88" in compaction.summary
    assert compaction.tokens_after < compaction.tokens_before

    (source,) = summarised(shared, mark)
    assert source == [json.loads(raw) for raw in before]
    window = windows(shared, mark)[-1]
    assert told(window) == [
        SUMMARY_INTRODUCTION + compaction.summary,
        long_talk(mark),
        f"{mark} two",
    ]
    everything = listed(http, conversation_id)
    assert [json.loads(raw)["type"] for raw in everything] == [
        *(["message"] * 3),
        "compaction",
        "message",
    ]
    assert everything == standing(shared.fold(conversation_id))

    client.responses.create(model=MODEL, input=f"{mark} three", conversation=conversation_id)
    following = windows(shared, mark)[-1]
    assert following[: len(window)] == window
    assert told(following)[3:] == [response.output_text, f"{mark} three"]

    client.conversations.items.delete(response.output[0].id, conversation_id=conversation_id)
    client.responses.create(model=MODEL, input=f"{mark} four", conversation=conversation_id)
    restored = windows(shared, mark)[-1]
    assert [json.dumps(item) for item in restored[:2]] == [
        json.dumps(json.loads(raw)) for raw in before
    ]
    assert [item["type"] for item in restored] == ["message"] * 7


def test_an_earlier_summary_is_carried_over(shared: Running, client: OpenAI, mark: str):
    conversation_id = conversation(client, mark)
    for number in ("two", "three"):
        client.responses.create(
            model=MODEL,
            input=f"{mark} {number}. [[words 1200]]",
            conversation=conversation_id,
            context_management=MANAGED,
        )
    first, second = (
        event.compaction
        for commit in shared.commits(conversation_id)
        for event in map(envelope.unpack, envelope.decode(commit.payload).events)
        if isinstance(event, TurnCompleted) and event.compaction is not None
    )
    assert second.summary.startswith(f"{first.summary}\n\n")
    # The window's beginning is sent as it was, and what is told of it is left out.
    source = summarised(shared, mark)[-1]
    assert told(source)[0] == SUMMARY_INTRODUCTION + first.summary
    assert source[:3] == windows(shared, mark)[-2][:3]
    assert second.summary.count("Summary of") == 2
    state = folded(shared.commits(conversation_id)).state
    assert [item.type for item in state.window()] == ["compaction", *(["message"] * 4)]


def test_below_the_threshold_nothing_happens(shared: Running, client: OpenAI, mark: str):
    made = client.conversations.create()
    for number in range(2):
        response = client.responses.create(
            model=MODEL,
            input=f"{mark} {number}",
            conversation=made.id,
            context_management=[{"type": "compaction", "compact_threshold": None}],
        )
        assert [item.type for item in response.output] == ["message"]
    assert summarised(shared, mark) == []


def test_what_no_summary_makes_smaller_is_not_summarised_each_turn(
    shared: Running, client: OpenAI, mark: str
):
    made = client.conversations.create()
    tools = [function("look", **{f"property_{number}": "string" for number in range(300)})]
    answered = [
        client.responses.create(
            model=MODEL,
            instructions="Be brief. " * 1_000,
            input=f"{mark} {number} [[say Well.]]",
            conversation=made.id,
            tools=tools,
            context_management=MANAGED,
        )
        for number in range(3)
    ]
    assert answered[-1].usage.total_tokens > 2_000
    assert summarised(shared, mark) == []
    assert [[item.type for item in each.output] for each in answered] == [["message"]] * 3


def test_a_call_that_is_answered_now_stays_whole(shared: Running, client: OpenAI, mark: str):
    tools = [function("look", what="string")]
    conversation_id = conversation(client, mark)
    calling = client.responses.create(
        model=MODEL,
        input=f'{mark} two [[call look {{"what":"lamp"}}]] [[call look {{"what":"desk"}}]]',
        conversation=conversation_id,
        tools=tools,
    )
    answered = client.responses.create(
        model=MODEL,
        input=[output_of(call.call_id, f"{mark} three") for call in calling.output],
        conversation=conversation_id,
        tools=tools,
        context_management=MANAGED,
    )
    assert answered.output[0].type == "compaction"
    kept = [*(["message"] * 3), *(["function_call"] * 2), *(["function_call_output"] * 2)]
    assert [item["type"] for item in windows(shared, mark)[-1]] == kept
    following = client.responses.create(
        model=MODEL, input=f"{mark} four", conversation=conversation_id, tools=tools
    )
    assert following.status == "completed"
    assert [item["type"] for item in windows(shared, mark)[-1]] == [*kept, "message", "message"]


# Chains


@pytest.mark.parametrize("store", [True, False])
def test_a_chain_is_summarised_before_its_newest_input(
    shared: Running, client: OpenAI, mark: str, store: bool
):
    first = client.responses.create(model=MODEL, input=long_talk(mark))
    second = client.responses.create(
        model=MODEL,
        input=f"{mark} two",
        previous_response_id=first.id,
        context_management=MANAGED,
        store=store,
    )
    strictly(Response, second.to_json().encode())
    assert [item.type for item in second.output] == ["compaction", "message"]
    window = windows(shared, mark)[-1]
    assert told(window)[0].startswith(SUMMARY_INTRODUCTION)
    assert told(window)[1:] == [long_talk(mark), f"{mark} two"]
    if not store:
        return
    third = client.responses.create(
        model=MODEL, input=f"{mark} three", previous_response_id=second.id
    )
    following = windows(shared, mark)[-1]
    assert following[:3] == window
    assert told(following)[3:] == [second.output_text, f"{mark} three"]
    listed_input = list(client.responses.input_items.list(third.id, order="asc"))
    assert [item.type for item in listed_input] == ["compaction", *(["message"] * 4)]
    # Another branch from before goes on as if nothing had happened.
    client.responses.create(model=MODEL, input=f"{mark} other", previous_response_id=first.id)
    assert len(windows(shared, mark)[-1]) == 3


def test_a_call_that_is_answered_in_a_chain_stays_whole(shared: Running, client: OpenAI, mark: str):
    tools = [function("look", what="string")]
    first = client.responses.create(model=MODEL, input=long_talk(mark))
    calling = client.responses.create(
        model=MODEL,
        input=f'{mark} two [[call look {{"what":"lamp"}}]]',
        previous_response_id=first.id,
        tools=tools,
    )
    answered = client.responses.create(
        model=MODEL,
        input=[output_of(calling.output[0].call_id, f"{mark} three")],
        previous_response_id=calling.id,
        tools=tools,
        context_management=MANAGED,
    )
    kept = [*(["message"] * 3), "function_call", "function_call_output"]
    assert [item["type"] for item in windows(shared, mark)[-1]] == kept
    client.responses.create(
        model=MODEL, input=f"{mark} four", previous_response_id=answered.id, tools=tools
    )
    assert [item["type"] for item in windows(shared, mark)[-1]] == [*kept, "message", "message"]


# Arrays


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("pruned", [True, False])
def test_an_array_goes_round_with_and_without_what_its_summary_tells(
    shared: Running, client: OpenAI, mark: str, store: bool, pruned: bool
):
    talk = [message(long_talk(mark))]
    first = client.responses.create(model=MODEL, input=talk, store=store)
    talk += [*dump(first.output), message(f"{mark} two")]
    second = client.responses.create(
        model=MODEL, input=talk, store=store, context_management=MANAGED
    )
    assert [item.type for item in second.output] == ["compaction", "message"]
    (source,) = summarised(shared, mark)
    assert told(source)[-1] == f"{mark} two"
    assert told(windows(shared, mark)[-1])[1:] == [f"{mark} two"]

    talk += dump(second.output)
    if pruned:
        talk = talk[next(n for n, item in enumerate(talk) if item["type"] == "compaction") :]
    third = client.responses.create(
        model=MODEL,
        input=[*talk, message(f"{mark} three")],
        store=store,
        context_management=MANAGED,
    )
    assert [item.type for item in third.output] == ["message"]
    window = told(windows(shared, mark)[-1])
    # The user's message right before a summary stays if it is sent; the summary tells of it.
    assert window[-3].startswith(SUMMARY_INTRODUCTION)
    assert f"{mark} two" in window[-3]
    assert window[:-3] == ([] if pruned else [f"{mark} two"])
    assert window[-2:] == [second.output_text, f"{mark} three"]
    if store:
        client.responses.create(model=MODEL, input=f"{mark} four", previous_response_id=third.id)
        assert told(windows(shared, mark)[-1])[: len(window)] == window


def test_what_a_summary_tells_is_not_counted_again(client: OpenAI, mark: str):
    told_before = [message(f"{mark} one."), message("Well.", "assistant")]
    response = client.responses.create(model=MODEL, input=[*told_before, TRIGGER], store=False)
    pruned = [*dump(response.output), message(f"{mark} two")]

    def count(array: list[dict[str, Any]]) -> int:
        return client.responses.input_tokens.count(model=MODEL, input=array).input_tokens

    assert count([*told_before, *pruned]) == count(pruned) > 0


def test_tools_that_said_much_in_an_array_are_summarised_but_for_the_last(
    shared: Running, client: OpenAI, mark: str
):
    def exchange(number: int) -> list[dict[str, Any]]:
        call = {
            "type": "function_call",
            "call_id": f"call_{number}",
            "name": "look",
            "arguments": "{}",
        }
        return [call, output_of(f"call_{number}", f"{mark} {number} " + "lamp " * 500)]

    array = [message(f"{mark} Look. {FACT}"), *exchange(1), *exchange(2), *exchange(3)]
    response = client.responses.create(
        model=MODEL, input=array, store=False, context_management=MANAGED
    )
    assert response.output[0].type == "compaction"
    window = windows(shared, mark)[-1]
    assert [item.get("call_id") for item in window] == [None, "call_3", "call_3"]
    assert told(window)[0].startswith(SUMMARY_INTRODUCTION)


# Asked for by a trigger


def test_a_trigger_is_answered_with_a_summary_alone(
    shared: Running, client: OpenAI, http: httpx2.Client, mark: str
):
    body = sample("response_create_request_compaction_trigger") | {"model": MODEL}
    body["input"][0]["content"] = f"{mark} {FACT}"
    before = shared.last_sequences()
    events = events_of(http, body)
    assert shared.last_sequences() == before
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.compaction.compacting",
        "response.output_item.done",
        "response.completed",
    ]
    (item,) = events[-1]["response"]["output"]
    assert item == events[-2]["item"]
    assert events[-1]["response"]["usage"]["total_tokens"] > 0
    assert windows(shared, mark) == []
    assert len(summarised(shared, mark)) == 1

    following = client.responses.create(
        model=MODEL, input=[item, message(f"{mark} next")], store=False
    )
    assert "NL-4471-88" in following.output_text


def test_a_trigger_covers_a_conversation_and_is_never_stored(
    shared: Running, client: OpenAI, http: httpx2.Client, mark: str
):
    conversation_id = conversation(client, mark)
    with client.responses.stream(
        model=MODEL,
        input=[message(f"{mark} two"), TRIGGER],
        conversation=conversation_id,
    ) as stream:
        for _ in stream:
            pass
        response = stream.get_final_response()
    assert [item.type for item in response.output] == ["compaction"]
    strictly(Response, http.get(f"/v1/responses/{response.id}").content)
    raws = listed(http, conversation_id)
    assert [json.loads(raw)["type"] for raw in raws] == [*(["message"] * 3), "compaction"]
    assert all(
        b"compaction_trigger" not in each.payload for each in shared.commits(conversation_id)
    )
    given = list(client.responses.input_items.list(response.id, order="asc"))
    assert [item.type for item in given] == ["message"] * 3
    loaded = shared.fold(conversation_id)
    assert [item.type for item in loaded.state.window()] == ["compaction"]
    # By the provider's count, less what the summary saved by ours.
    assert 0 <= loaded.state.tokens - loaded.state.window()[0].tokens < 50

    client.responses.create(model=MODEL, input=f"{mark} three", conversation=conversation_id)
    assert [item["role"] for item in windows(shared, mark)[-1]] == ["developer", "user"]


def test_a_trigger_alone_covers_what_there_is(shared: Running, client: OpenAI, mark: str):
    first = client.responses.create(model=MODEL, input=long_talk(mark))
    second = client.responses.create(model=MODEL, input=[TRIGGER], previous_response_id=first.id)
    assert [item.type for item in second.output] == ["compaction"]
    third = client.responses.create(model=MODEL, input=[TRIGGER], previous_response_id=second.id)
    # There is nothing more to tell, so no model is asked.
    assert [item.type for item in third.output] == ["compaction"]
    assert third.usage.total_tokens == 0
    assert len(summarised(shared, mark)) == 1
    client.responses.create(model=MODEL, input=f"{mark} two", previous_response_id=third.id)
    window = told(windows(shared, mark)[-1])
    assert len(window) == 2
    assert "NL-4471-88" in window[0]


def test_a_trigger_runs_in_the_background(client: OpenAI, mark: str):
    conversation_id = conversation(client, mark)
    begun = client.responses.create(
        model=MODEL, input=[TRIGGER], conversation=conversation_id, background=True
    )
    assert (begun.status, begun.output) == ("queued", [])
    ended = until(
        lambda: (now := client.responses.retrieve(begun.id)).status == "completed" and now
    )
    assert [item.type for item in ended.output] == ["compaction"]


@pytest.mark.parametrize("stream", [True, False])
def test_an_empty_context_cannot_be_summarised(client: OpenAI, http: httpx2.Client, stream: bool):
    made = client.conversations.create()
    for place in ({"conversation": made.id}, {}, {"store": False}):
        body = {"model": MODEL, "input": [TRIGGER], "stream": stream, **place}
        answer = http.post("/v1/responses", json=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == "input"


def test_a_trigger_comes_last(client: OpenAI):
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=MODEL, input=[TRIGGER, message("Hi")])


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_is_unknown_is_refused_when_a_summary_is_asked_for(
    http: httpx2.Client, stream: bool
):
    body = {"model": "nope", "input": [message("Hi"), TRIGGER], "stream": stream}
    answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "model_not_found"


# Edits and views


def test_an_item_that_is_deleted_takes_the_summary_of_a_turn_along(
    shared: Running, client: OpenAI, mark: str
):
    conversation_id = conversation(client, mark)
    client.responses.create(
        model=MODEL,
        input=f"{mark} two",
        conversation=conversation_id,
        context_management=MANAGED,
    )
    first = json.loads(standing(shared.fold(conversation_id))[0])
    client.conversations.items.delete(first["id"], conversation_id=conversation_id)
    client.responses.create(model=MODEL, input=f"{mark} three", conversation=conversation_id)
    assert [(item["type"], item["role"]) for item in windows(shared, mark)[-1]] == [
        ("message", "assistant"),
        ("message", "user"),
        ("message", "assistant"),
        ("message", "user"),
    ]


def test_the_views_agree_with_the_log(shared: Running, client: OpenAI, mark: str):
    conversation_id = conversation(client, mark)
    response = client.responses.create(
        model=MODEL,
        input=f"{mark} two",
        conversation=conversation_id,
        context_management=MANAGED,
    )
    own = f"WHERE conversation_id = '{conversation_id}'"
    assert shared.sql(f"SELECT type, origin FROM items {own} ORDER BY position") == [
        ("message", "input"),
        ("message", "output"),
        ("message", "input"),
        ("compaction", "output"),
        ("message", "output"),
    ]
    assert shared.sql(
        f"SELECT output_items, total_tokens FROM turns WHERE response_id = '{response.id}'"
    ) == [(2, response.usage.total_tokens)]
    loaded = shared.fold(conversation_id)
    assert shared.sql(f"SELECT items, tokens FROM conversations {own}") == [
        (5, loaded.state.tokens)
    ]


# The server's own threshold


@pytest.fixture(scope="module")
def budgeted(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """An instance with a budget of its own."""
    running = Running(tmp_path_factory.mktemp("budgeted"), tokens_budget="1000")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.mark.parametrize("entry", [{"compact_threshold": None}, {}])
def test_without_a_threshold_the_servers_budget_is_one(
    budgeted: Running, mark: str, entry: dict[str, None]
):
    with budgeted.client() as client:
        first = client.responses.create(model=MODEL, input=long_talk(mark))
        second = client.responses.create(
            model=MODEL,
            input=f"{mark} two",
            previous_response_id=first.id,
            context_management=[{"type": "compaction", **entry}],
        )
    assert [item.type for item in second.output] == ["compaction", "message"]


def test_in_its_turn_and_in_the_background_a_conversation_is_compacted_once_at_a_time(
    budgeted: Running, mark: str
):
    with budgeted.client() as client:
        made = client.conversations.create()
        for number in range(6):
            client.responses.create(
                model=MODEL,
                input=f"{mark} {number}. {FACT} [[words 400]]",
                conversation=made.id,
                context_management=[{"type": "compaction", "compact_threshold": None}],
            )
        until(lambda: "budget_crossed" in budgeted.events(made.id))
        state = budgeted.fold(made.id).state
        window = [item.type for item in state.window()]
        assert window.count("compaction") == 1
        assert window[0] == "compaction"
        with budgeted.http() as http:
            said = texts(listed(http, made.id))
        asked = [text for text in said if text.startswith(mark) and FACT in text]
        assert [text.split()[1] for text in asked] == [f"{number}." for number in range(6)]
