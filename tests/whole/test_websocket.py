"""WebSocket mode as applications use it: through the unmodified SDKs, and by its own rules."""

import json
from collections.abc import Iterator
from typing import Any

import agents
import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI

from schemas.http import stream_events
from services.journal.deltas import Deltas
from services.model.rendering import SUMMARY_INTRODUCTION
from tests.whole.running import MODEL, PROJECT, Running, function, message, output_of, texts
from tests.whole.wire import TERMINAL, Wire, of_lane, said, wired

DELTA = "response.output_text.delta"
REASONING = "simulator-reasoning"


@pytest.fixture
def client(shared: Running) -> Iterator[OpenAI]:
    with shared.client() as sdk:
        yield sdk


@pytest.fixture
def wire(shared: Running) -> Iterator[Wire]:
    with wired(shared.url) as connection:
        yield connection


def windows(shared: Running, text: str) -> list[list[str]]:
    """Texts of the windows the model was sent that hold ``text``, oldest first."""
    bodies = [json.loads(body) for body in shared.received_with(text)]
    return [texts(json.dumps(item).encode() for item in body["input"]) for body in bodies]


def told(shared: Running, response_id: str) -> list[dict[str, Any]]:
    """Every event a responder told of a response, as it is kept for server-sent events."""

    async def read(client: Any) -> list[Any]:
        return await Deltas(client).read(PROJECT, response_id)

    payload = b"".join(each.data for each in shared.on_log(read))
    return [json.loads(stream_events.data(one)) for one in stream_events.frames(payload)]


def without_ids(frames: list[dict[str, Any]]) -> list[Any]:
    """Frames with their ids numbered in order of appearance, and without times."""
    numbers: dict[str, int] = {}

    def blank(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: blank(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [blank(inner) for inner in value]
        if name in {"id", "item_id", "call_id", "encrypted_content"} and value is not None:
            return numbers.setdefault(value, len(numbers))
        return None if name.endswith("_at") else value

    return [blank(frame) for frame in frames]


def test_the_sdk_is_answered_on_a_connection(client: OpenAI):
    with client.responses.connect() as connection:
        connection.response.create(model=MODEL, input="Hello over there", stream_id="lane-1")
        events = []
        for event in connection:
            events.append(event)
            if event.type in TERMINAL:
                break
        first = client.responses.retrieve(events[-1].response.id)
        connection.response.create(
            model=MODEL, input="And again", previous_response_id=first.id, stream=True
        )
        while (event := connection.recv()).type not in TERMINAL:
            pass

    assert [each.sequence_number for each in events] == list(range(len(events)))
    assert {each.stream_id for each in events} == {"lane-1"}
    assert [type(each).__name__ for each in events[:3]] == [
        "ResponseWsCreated",
        "ResponseInWsProgress",
        "ResponseOutputItemWsAdded",
    ]
    deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
    assert "".join(deltas) == first.output_text
    assert first.output_text.endswith("You said: Hello over there.")
    assert event.response.previous_response_id == first.id
    assert client.responses.retrieve(event.response.id).output_text.startswith("I have read 3")


async def test_the_async_sdk_is_answered_on_a_connection(shared: Running):
    url = f"{shared.url}/v1"
    async with AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
        answers = {}
        async with client.responses.connect() as connection:
            for lane in "ab":
                await connection.response.create(model=MODEL, input=f"In {lane}", stream_id=lane)
            async for event in connection:
                if event.type == "response.completed":
                    answers[event.stream_id] = event.response
                if len(answers) == 2:
                    break
        kept = {lane: await client.responses.retrieve(answers[lane].id) for lane in "ab"}
    assert {lane: kept[lane].output_text[-13:] for lane in "ab"} == {
        "a": "u said: In a.",
        "b": "u said: In b.",
    }


async def test_an_agent_runs_on_a_connection(shared: Running):
    agents.set_tracing_disabled(disabled=True)
    called = []

    def look_up(city: str) -> str:
        called.append(city)
        return "rain"

    agent = agents.Agent(
        name="weather", model=MODEL, tools=[agents.function_tool(look_up, strict_mode=False)]
    )
    async with agents.responses_websocket_session(
        api_key="any", base_url=f"{shared.url}/v1"
    ) as session:
        first = await session.run(
            agent, '[[call look_up {"city": "Kiel"}]]', auto_previous_response_id=True
        )
        streamed = session.run_streamed(
            agent, "And then?", previous_response_id=first.last_response_id
        )
        names = [event.type async for event in streamed.stream_events()]
        with pytest.raises(RuntimeError, match="previous_response_not_found"):
            await session.run(agent, "x", previous_response_id="resp_" + "0" * 50)

    assert called == ["Kiel"]
    assert "raw_response_event" in names
    assert "You said: And then?" in streamed.final_output


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "[[words 30]] plain \u2028 \n\n data: x"},
        {"input": "think", "model": REASONING, "include": ["reasoning.encrypted_content"]},
        {
            "input": '[[call weather {"city": "Bad Säckingen"}]]',
            "tools": [function("weather", city="string")],
        },
        {"input": "[[incomplete]] half of it"},
        {"input": "[[fail]] not to the end"},
        {"input": "kept by nobody", "store": False},
        {"input": "answered with what was asked", "metadata": {"a": "b"}, "temperature": 0.5},
    ],
)
def test_frames_are_the_server_sent_events_without_their_framing(
    shared: Running, wire: Wire, fields: dict[str, Any]
):
    wire.send({"type": "response.create", "model": MODEL, "background": True, **fields})
    frames = wire.answer()

    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    if fields.get("store", True):
        assert frames == told(shared, frames[0]["response"]["id"])
    with shared.http() as http:
        answer = http.post("/v1/responses", json={"model": MODEL, "stream": True, **fields})
    events = [json.loads(stream_events.data(one)) for one in stream_events.frames(answer.content)]
    assert without_ids(events) == without_ids(frames)


def test_lanes_run_at_the_same_time(shared: Running, wire: Wire):
    for lane in ("one", "two", None):
        wire.ask("[[gate lanes 3]] [[words 40]]", **({"stream_id": lane} if lane else {}))
    while len({each.get("stream_id") for each in wire.heard if each["type"] == DELTA}) < 3:
        wire.frame()
    shared.open_gate("lanes")
    wire.until_ends(3)

    frames = wire.heard
    assert {"stream_id" in frame for frame in frames} == {True, False}
    for lane in ("one", "two", None):
        own = of_lane(frames, lane)
        assert [frame["sequence_number"] for frame in own] == list(range(len(own)))
        assert own[-1]["type"] == "response.completed"


@pytest.mark.parametrize("lane", ["some.lane_-1", None])
def test_requests_of_one_lane_run_one_after_the_other(wire: Wire, lane: str | None):
    named = {"stream_id": lane} if lane else {}
    for text in ("[[delay 0.01]] first", "second", "[[error 400]] third", "fourth"):
        wire.ask(text, **named)
    wire.ask(3, **named)
    wire.ask("last", **named)
    frames = of_lane(wire.until_ends(6), lane)

    ends = [n for n, frame in enumerate(frames) if frame["type"] in {*TERMINAL, "error"}]
    answers = [frames[start + 1 : end + 1] for start, end in zip([-1, *ends], ends, strict=False)]
    assert [
        said(each[-1]["response"]).rpartition(": ")[2] if "response" in each[-1] else len(each)
        for each in answers
    ] == ["first.", "second.", 1, "fourth.", 1, "last."]
    for each in (answers[n] for n in (0, 1, 3, 5)):
        assert [frame["sequence_number"] for frame in each] == list(range(len(each)))


def test_sixteen_requests_are_worked_on_at_once_and_the_rest_wait(shared: Running, wire: Wire):
    for number in range(24):
        wire.ask("[[gate sixteen 3]] [[words 40]]", stream_id=f"lane-{number}")
    while len([each for each in wire.heard if each["type"] == "response.created"]) < 16:
        wire.frame()
    shared.open_gate("sixteen")
    wire.until_ends(24)
    names = [frame["type"] for frame in wire.heard]

    running = most = 0
    for name in names:
        running += (name == "response.created") - (name == "response.completed")
        most = max(most, running)
    assert most == 16
    assert names.count("response.completed") == 24


def test_there_are_thirty_two_lanes_with_a_name(wire: Wire):
    for number in range(33):
        wire.ask("x", stream_id=f"lane-{number}")
    wire.ask("x", stream_id="lane-0")
    wire.ask("x")
    frames = wire.until_ends(35)

    (refused,) = [frame for frame in frames if frame["type"] == "error"]
    assert (refused["status"], refused["stream_id"]) == (400, "lane-32")
    assert refused["error"]["code"] == "websocket_stream_limit_reached"
    assert [frame["type"] for frame in frames].count("response.completed") == 34


def test_a_chain_of_which_nothing_is_stored_is_sent_whole(shared: Running, wire: Wire):
    shared.forget_received()
    before = shared.last_stored()
    first = wire.response("I am Ada, of the chain", store=False, instructions="Be brief")
    second = wire.response(
        [message("Who am I?")], store=False, previous_response_id=first["id"], stream_id="named"
    )
    third = wire.response("Thanks", store=False, previous_response_id=second["id"])

    assert windows(shared, "I am Ada, of the chain") == [
        ["I am Ada, of the chain"],
        ["I am Ada, of the chain", said(first), "Who am I?"],
        ["I am Ada, of the chain", said(first), "Who am I?", said(second), "Thanks"],
    ]
    bodies = [json.loads(body) for body in shared.received_with("I am Ada, of the chain")]
    # The same history gives the same bytes: prompt caches of the upstream depend on it.
    assert bodies[2]["input"][:3] == bodies[1]["input"]
    assert "instructions" not in bodies[1]
    assert [each["previous_response_id"] for each in (first, second, third)] == [
        None,
        first["id"],
        second["id"],
    ]
    assert {each["store"] for each in (first, second, third)} == {False}
    assert shared.last_stored() == before
    assert shared.words_kept(third["id"]) == 0
    with shared.client() as client, pytest.raises(NotFoundError):
        client.responses.retrieve(third["id"])


def test_a_chain_of_tool_calls_of_which_nothing_is_stored(shared: Running, wire: Wire):
    tools = [function("weather", city="string")]
    asked = wire.response('[[call weather {"city": "Rom"}]]', store=False, tools=tools)
    (call,) = asked["output"]
    follow = {"store": False, "tools": tools, "previous_response_id": asked["id"]}

    wire.ask([output_of("call_other", "x")], **follow)
    refused = wire.refusal()
    asked = wire.response('[[call weather {"city": "Rom"}]]', store=False, tools=tools)
    (call,) = asked["output"]
    follow["previous_response_id"] = asked["id"]
    answered = wire.response([output_of(call["call_id"], "sunny in Rome")], **follow)

    assert refused["error"]["message"].startswith("No tool call found for function call output")
    assert answered["status"] == "completed"
    (window,) = windows(shared, "sunny in Rome")
    assert window[1:] == ['{"city": "Rom"}', "sunny in Rome"]


def test_reasoning_is_part_of_a_chain_of_which_nothing_is_stored(shared: Running, wire: Wire):
    given = {"model": REASONING, "store": False, "include": ["reasoning.encrypted_content"]}
    first = wire.response("Think of the unstored", **given)
    wire.response("Think more", previous_response_id=first["id"], **given)

    bodies = [json.loads(body) for body in shared.received_with("Think of the unstored")]
    assert [item["type"] for item in bodies[-1]["input"]] == [
        "message",
        "reasoning",
        "message",
        "message",
    ]


def test_only_the_newest_response_of_a_lane_is_remembered(wire: Wire):
    def follow(parent: dict[str, Any], **fields: Any) -> dict[str, Any]:
        wire.ask("x", store=False, previous_response_id=parent["id"], **fields)
        return wire.answer()[-1]

    first = wire.response("x", store=False, stream_id="a")
    branches = [follow(first, stream_id=lane)["response"] for lane in "bc"]
    assert follow(branches[0], stream_id="c")["type"] == "response.completed"
    assert follow(first, stream_id="a")["type"] == "response.completed"
    superseded = follow(first, stream_id="b")
    assert superseded["error"]["code"] == "previous_response_not_found"
    assert superseded["error"]["param"] == "previous_response_id"
    assert superseded["stream_id"] == "b"
    # That refusal has cost lane b what it remembered.
    evicted = follow(branches[0], stream_id="d")
    assert evicted["error"]["message"] == (
        f"Previous response with id '{branches[0]['id']}' not found."
    )
    wire.response("x", stream_id="c")
    assert follow(branches[1])["type"] == "error"


def test_another_connection_does_not_know_what_was_not_stored(shared: Running, wire: Wire):
    first = wire.response("x", store=False)
    with wired(shared.url) as other:
        other.ask("x", store=False, previous_response_id=first["id"])
        refused = other.refusal()

    assert refused == {
        "type": "error",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "previous_response_not_found",
            "message": f"Previous response with id '{first['id']}' not found.",
            "param": "previous_response_id",
        },
    }


def test_what_is_stored_cannot_follow_what_is_not(wire: Wire):
    first = wire.response("x", store=False)
    wire.ask("x", previous_response_id=first["id"])
    refused = wire.refusal()["error"]

    assert refused["code"] == "previous_response_not_found"
    assert "it was not stored" in refused["message"]


def test_what_is_not_stored_can_follow_what_is(shared: Running, wire: Wire, client: OpenAI):
    root = client.responses.create(model=MODEL, input="The root is stored")
    first = wire.response("Not this", store=False, previous_response_id=root.id)
    second = wire.response("Nor this", store=False, previous_response_id=first["id"])

    assert windows(shared, "The root is stored")[-1] == [
        "The root is stored",
        root.output_text,
        "Not this",
        said(first),
        "Nor this",
    ]
    assert second["previous_response_id"] == first["id"]


def test_a_chain_of_which_nothing_is_stored_keeps_its_model(shared: Running, wire: Wire):
    first = wire.response("To the thinker", model=REASONING, store=False)
    create = {"type": "response.create", "input": "To it again", "store": False}
    wire.send(create | {"previous_response_id": first["id"]})

    assert wire.answer()[-1]["response"]["model"] == REASONING
    assert json.loads(shared.received_with("To it again")[0])["model"] == REASONING


@pytest.mark.parametrize("store", [True, False])
def test_a_chain_is_made_smaller_whether_it_is_stored_or_not(
    shared: Running, wire: Wire, *, store: bool
):
    managed = [{"type": "compaction", "compact_threshold": 1000}]
    mark = f"smaller {store}"
    asked = f"{mark} one [[words 1200]]"
    first = wire.response(asked, store=store)
    follow = {"store": store, "previous_response_id": first["id"]}
    second = wire.response(f"{mark} two", context_management=managed, **follow)
    follow["previous_response_id"] = second["id"]
    wire.response(f"{mark} three", **follow)

    assert [item["type"] for item in second["output"]] == ["compaction", "message"]
    summary, *rest = windows(shared, f"{mark} three")[-1]
    assert summary.startswith(SUMMARY_INTRODUCTION)
    # What the user has said stays as it is beside the summary.
    assert rest == [asked, f"{mark} two", said(second), f"{mark} three"]


@pytest.mark.parametrize("store", [True, False])
def test_a_summary_that_was_asked_for_begins_what_follows(
    shared: Running, wire: Wire, *, store: bool
):
    mark = f"triggered {store}"
    first = wire.response(f"{mark} one [[words 200]]", store=store)
    follow = {"store": store, "previous_response_id": first["id"]}
    second = wire.response([{"type": "compaction_trigger"}], **follow)
    follow["previous_response_id"] = second["id"]
    wire.response(f"{mark} three", **follow)

    assert [item["type"] for item in second["output"]] == ["compaction"]
    summary, *rest = windows(shared, f"{mark} three")[-1]
    assert summary.startswith(SUMMARY_INTRODUCTION)
    assert rest == [f"{mark} three"]


def test_deltas_are_padded_for_who_asks_for_it(wire: Wire):
    wire.ask("[[words 9]]", stream_options={"include_obfuscation": True})
    deltas = [each for each in wire.answer() if each["type"].endswith(".delta")]

    assert len(deltas) == 9
    assert {len(each["delta"] + each["obfuscation"]) % 16 for each in deltas} == {0}


def test_a_turn_that_fails_leaves_its_input_to_the_chain(shared: Running, wire: Wire):
    first = wire.response("[[fail]] Before it failed", store=False)
    wire.response("After it failed", store=False, previous_response_id=first["id"])

    assert first["status"] == "failed"
    assert windows(shared, "After it failed") == [["[[fail]] Before it failed", "After it failed"]]


@pytest.mark.parametrize("store", [True, False])
def test_a_connection_is_warmed_up_without_the_model(shared: Running, wire: Wire, *, store: bool):
    shared.forget_received()
    wire.send(
        {
            "type": "response.create",
            "model": MODEL,
            "generate": False,
            "instructions": "warm",
            "tools": [],
            "store": store,
        }
    )
    frames = wire.answer()
    warm = frames[-1]["response"]
    assert shared.received() == []
    answered = wire.response("Now say it", previous_response_id=warm["id"], store=store)

    assert [frame["type"] for frame in frames] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert (warm["status"], warm["output"], warm["instructions"]) == ("completed", [], "warm")
    assert warm["usage"]["total_tokens"] == 0
    assert answered["previous_response_id"] == warm["id"]
    assert windows(shared, "Now say it") == [["Now say it"]]
    with shared.http() as http:
        retrieved = http.get(f"/v1/responses/{warm['id']}")
    assert retrieved.status_code == (200 if store else 404)
    if store:
        assert retrieved.json() == warm


def test_what_is_said_while_warming_up_is_part_of_the_chain(shared: Running, wire: Wire):
    warm = wire.response("Known beforehand", generate=False, store=False)
    wire.response("Only then", previous_response_id=warm["id"], store=False, generate=True)

    assert windows(shared, "Known beforehand") == [["Known beforehand", "Only then"]]


def test_a_conversation_is_warmed_up(shared: Running, wire: Wire, client: OpenAI):
    conversation = client.conversations.create(items=[message("Before", "developer")])
    wire.send(
        {
            "type": "response.create",
            "model": MODEL,
            "generate": False,
            "conversation": conversation.id,
        }
    )
    warm = wire.answer()[-1]["response"]
    assert warm["conversation"] == {"id": conversation.id}
    assert len(client.conversations.items.list(conversation.id).data) == 1
    wire.response("Hot", conversation={"id": conversation.id})
    assert windows(shared, "Hot")[-1] == ["Before", "Hot"]


def test_turns_of_a_conversation_join_it(wire: Wire, client: OpenAI):
    conversation = client.conversations.create()
    first = wire.response("One", conversation=conversation.id)
    second = wire.response("Two", conversation=conversation.id, store=False)

    found = client.conversations.items.list(conversation.id, order="asc").data
    assert [item.content[0].text for item in found] == ["One", said(first), "Two", said(second)]
    assert client.responses.retrieve(first["id"]).status == "completed"
    with pytest.raises(NotFoundError):
        client.responses.retrieve(second["id"])


def test_a_busy_conversation_is_told_on_the_lane(shared: Running, wire: Wire, client: OpenAI):
    conversation = client.conversations.create()
    wire.ask("[[gate busy-lane 3]]", conversation=conversation.id, stream_id="busy")
    while wire.frame()["type"] != DELTA:
        pass
    wire.ask("x", conversation=conversation.id, stream_id="other")
    (refused,) = of_lane(wire.until_ends(1), "other")
    shared.open_gate("busy-lane")
    assert wire.answer()[-1]["type"] == "response.completed"

    assert refused == {
        "type": "error",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "conversation_locked",
            "message": "Another process is currently operating on this conversation. "
            "Please retry in a few seconds.",
            "param": "conversation",
        },
        "stream_id": "other",
    }


def test_a_connection_can_wait_for_busy_conversations(shared: Running, client: OpenAI):
    conversation = client.conversations.create()
    queue = {"Turnlog-Overlap": "queue"}
    with wired(shared.url, additional_headers=queue) as wire:
        for lane in "abc":
            wire.ask("[[delay 0.01]] x", conversation=conversation.id, stream_id=lane)
        ends = [frame["type"] for frame in wire.until_ends(3) if frame["type"] in TERMINAL]
    assert ends == ["response.completed"] * 3
    assert len(client.conversations.items.list(conversation.id).data) == 6


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (429, "requests")])
def test_what_the_model_refuses_is_told_as_an_error(wire: Wire, status: int, kind: str):
    wire.ask(f"[[error {status}]]", stream_id="refused")
    refused = wire.refusal()

    assert (refused["status"], refused["stream_id"]) == (status, "refused")
    assert refused["error"]["type"] == kind
    waits = refused["error"].get("headers", {}).get("retry-after")
    assert waits == ("1" if status == 429 else None)
