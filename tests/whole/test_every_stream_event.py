"""Whatever an upstream may say reaches the unmodified SDK in the contract's events and items."""

import json
import secrets
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from schemas.item_types import TYPES as KNOWN
from services.conversation import pairing
from services.simulator.directives import HOSTED
from tests.responder.following import listen, strictly
from tests.told_streams import STREAMS, Event, items_of, message, response, text_part, whole
from tests.upstream import ScriptedUpstream, body, stream
from tests.whole.running import MODEL as SIMULATOR
from tests.whole.running import Running, function, listed, until
from tests.whole.test_streaming import events_of

UNKNOWN: list[Event] = [
    {"type": "keepalive", "sequence_number": 3},
    {"type": "response.steer.accepted", "steer": {"id": "steer_1", "previous_response_id": "r"}},
    {"type": "response.hologram.delta", "output_index": 0, "delta": {"x": 1}},
]


@pytest.fixture
def mark() -> str:
    return f"mark-{secrets.token_hex(8)}"


@pytest.fixture
def client(before_scripted: Running):
    with before_scripted.client() as sdk:
        yield sdk


@pytest.fixture
def http(before_scripted: Running):
    with before_scripted.http() as opened:
        yield opened


def streamed(http: httpx2.Client, mark: str, **fields: Any) -> list[Event]:
    """Events of a streamed turn, their framing and numbers checked."""
    answer = http.post(
        "/v1/responses", json={"model": "m", "input": mark, "stream": True, **fields}
    )
    assert answer.status_code == 200, answer.text
    return events_of(answer.content)


def shapes(items: list[Event]) -> list[Event]:
    """Items without their ids, whose prefixes are kept, and without what is sealed anew."""
    return [{**_unsealed(item), "id": item["id"].partition("_")[0]} for item in items]


def _unsealed(item: Event) -> Event:
    """A compaction of an upstream is enclosed, and never the same twice."""
    return item | {"encrypted_content": ""} if item["type"] == "compaction" else item


@pytest.mark.parametrize("name", STREAMS)
def test_every_event_reaches_the_helper_and_every_item_is_kept(
    scripted: ScriptedUpstream, client: OpenAI, http: httpx2.Client, mark: str, name: str
):
    scripted.plan(mark, stream(whole(STREAMS[name])))
    conversation = client.conversations.create()

    with client.responses.stream(model="m", input=mark, conversation=conversation.id) as told:
        heard = [event.type for event in told]
        final = told.get_final_response()
    events = streamed(http, mark)

    assert heard == [event["type"] for event in events]
    assert heard[2:-1] == [event["type"] for event in STREAMS[name]]
    strictly(events)
    assert all(
        list(event) == ["type", *sorted(set(event) - {"type"})]
        for event in events
        if "response" not in event
    )
    output = json.loads(final.model_dump_json(exclude_unset=True))["output"]
    kept = [json.loads(raw) for raw in listed(http, conversation.id)][1:]
    assert shapes(kept) == shapes(events[-1]["response"]["output"]) == shapes(items_of(events))
    assert [item["id"] for item in output] == [item["id"] for item in kept]
    for item in kept:
        assert http.get(f"/v1/conversations/{conversation.id}/items/{item['id']}").json() == item
    assert http.get(f"/v1/responses/{final.id}").json()["output"] == kept


@pytest.mark.parametrize("name", sorted(STREAMS.keys() - {"audio"}))
def test_a_plain_answer_holds_the_same_items(
    scripted: ScriptedUpstream, client: OpenAI, mark: str, name: str
):
    scripted.plan(mark, body(response("completed", items_of(STREAMS[name]))))

    plain = client.responses.create(model="m", input=mark)

    (item,) = json.loads(plain.model_dump_json(exclude_unset=True))["output"]
    (expected,) = items_of(STREAMS[name])
    assert shapes([item]) == shapes([expected])


WAITING = {item for item in STREAMS if item in pairing.ANSWERED_BY}
"""Calls a client would have to answer before the next turn."""


@pytest.mark.parametrize("name", sorted(STREAMS.keys() - WAITING - {"shell_call_output"}))
def test_what_was_said_goes_back_to_the_upstream_with_the_next_turn(
    scripted: ScriptedUpstream, client: OpenAI, mark: str, name: str
):
    scripted.plan(mark, stream(whole(STREAMS[name])))
    conversation = client.conversations.create()
    for _ in range(2):
        with client.responses.stream(model="m", input=mark, conversation=conversation.id) as told:
            told.get_final_response()

    first, second = (sent["input"] for sent in scripted.asked(mark))
    said = items_of(STREAMS[name])
    # Reasoning that nobody can open again is left out.
    expected = [] if name == "reasoning" else [{**item, "id": ""} for item in said]
    assert second[: len(first)] == first
    assert [{**item, "id": ""} for item in second[len(first) : -1]] == expected


def test_events_nobody_knows_are_never_relayed_and_counted_in_the_log(
    scripted: ScriptedUpstream, before_scripted: Running, http: httpx2.Client, mark: str
):
    events = whole(message(0, "Hel", "lo"))
    mixed = [each for event in events[:-1] for each in (event, *UNKNOWN)]
    scripted.plan(mark, stream([*UNKNOWN, *mixed, events[-1]]))

    told = streamed(http, mark)

    assert [event["type"] for event in told] == [event["type"] for event in events]
    counted = dict.fromkeys((event["type"] for event in UNKNOWN), len(events))
    assert before_scripted.up is not None
    assert until(lambda: before_scripted.up.lines("stream.events_dropped", types=counted))


def test_a_stream_that_leaves_out_what_ends_its_items_is_made_whole(
    scripted: ScriptedUpstream, client: OpenAI, mark: str
):
    said = message(0, "Hel", "lo")
    called = items_of(STREAMS["function_call"])
    # Its message never ends, the call is in its end alone, and that lacks the message.
    scripted.plan(mark, stream(whole(said[:4], output=called)))

    with client.responses.stream(model="m", input=mark) as told:
        final = told.get_final_response()

    assert final.output_text == "Hello"
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.output[0].status == "completed"


@pytest.mark.parametrize("output", [[], None])
def test_an_end_without_output_loses_nothing(
    scripted: ScriptedUpstream, client: OpenAI, mark: str, output: list[Event] | None
):
    scripted.plan(mark, stream(whole(message(0, "Hel", "lo"), output=output)))

    with client.responses.stream(model="m", input=mark) as told:
        assert told.get_final_response().output_text == "Hello"


def test_lists_an_upstream_left_out_are_there(
    scripted: ScriptedUpstream, http: httpx2.Client, mark: str
):
    bare = {"type": "output_text", "text": "Hi"}
    events = message(0, "Hi")
    for event in events:
        event.pop("logprobs", None)
        event.pop("sequence_number", None)
        event.pop("item_id", None)
    events[1]["part"], events[-2]["part"] = {**bare, "text": ""}, bare
    events[-1]["item"]["content"] = [bare]
    scripted.plan(mark, stream(whole(events)))

    told = streamed(http, mark)

    strictly(told)
    assert told[-1]["response"]["output"][0]["content"] == [text_part("Hi")]


def test_a_turn_in_the_background_says_all_of_it_and_says_it_again(
    scripted: ScriptedUpstream, http: httpx2.Client, mark: str
):
    for name in ("message_cited", "custom_tool_call", "shell_call", "mcp_call_failed"):
        scripted.plan(mark, stream(whole(STREAMS[name])))
        answer = http.post(
            "/v1/responses",
            json={"model": "m", "input": mark, "stream": True, "background": True},
        )
        response_id = json.loads(answer.content.split(b"data: ")[1].split(b"\n")[0])["response"][
            "id"
        ]

        again = http.get(f"/v1/responses/{response_id}", params={"stream": "true"})

        assert again.content == answer.content
        assert answer.content.count(b"\ndata: ") == len(STREAMS[name]) + 4


# The simulated model's own repertoire

ORDERS = [
    "[[refuse]]",
    "[[reasoning]] Hi",
    "[[reasoning text]] Hi",
    "[[reasoning both]] Hi",
    "[[commentary Let me look.]] Hi",
    '[[commentary Looking.]] [[call look {"a":1}]] [[call look {}]]',
    "[[call sql SELECT 1]]",
    *(f"[[hosted {kind}]] Hi" for kind in HOSTED),
    "[[hosted mcp failed]] Hi",
    "[[hosted web_search]] [[hosted code_interpreter]] [[hosted file_search]] Hi",
    "[[queued]] [[keepalive]] [[unknown-event]] [[words 3]]",
    "[[incomplete]] [[words 9]]",
    "[[incomplete content_filter]] [[words 9]]",
]
TOOLS: list[Event] = [function("look"), {"type": "custom", "name": "sql"}]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # an item of a type to come
@pytest.mark.parametrize("order", ORDERS)
def test_all_a_simulated_model_can_say_is_followed_and_kept(shared: Running, order: str):
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create()
        body = {"model": SIMULATOR, "input": order, "stream": True, "tools": TOOLS}
        answer = http.post("/v1/responses", json={**body, "conversation": conversation.id})
        events = events_of(answer.content)

        strictly([event for event in events if event.get("item", {}).get("type") in KNOWN])
        listen(events)
        kept = [json.loads(raw) for raw in listed(http, conversation.id)][1:]
        assert kept == events[-1]["response"]["output"] == items_of(events)
        assert events[-1]["type"] != "response.failed"
