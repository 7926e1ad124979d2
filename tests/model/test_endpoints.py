"""Both upstream APIs against the simulator's own process."""

import asyncio
import json

import httpx2 as httpx
import pytest

from schemas import items
from services import settings
from services.conversation.history import Item, item_of
from services.model import Call, ModelRefused, ModelUnavailable
from services.model.connect import model
from services.sealing import Sealer
from services.settings import ModelSettings, SettingsError
from tests.builders import compaction_item, plain, raw, reasoning, said

SEALER = Sealer(bytes(32))
TOOLS = [{"type": "function", "name": "look"}, {"type": "function", "name": "hear"}]
APIS = ["responses", "chat"]


def endpoint(api, url):
    return model(ModelSettings(model_url=url, model_api=api, model_wait_s=10), SEALER)


@pytest.fixture(params=APIS)
def api(request):
    return request.param


@pytest.fixture
async def upstream(api, simulator_url):
    opened = endpoint(api, simulator_url)
    yield opened
    await opened.aclose()


def asking(text, *before: Item, **parameters: object):
    """A call whose last user text is ``text``."""
    request = item_of(items.from_text(raw(text), mint="{}_1".format), 1)
    return Call(
        model="simulator",
        items=(*before, request),
        parameters={name: raw(value) for name, value in parameters.items()},
    )


async def streamed(upstream, call):
    """Events and, last, the answer."""
    heard = [event async for event in upstream.stream(call)]
    return [{name: plain(value) for name, value in event.items()} for event in heard[:-1]], heard[
        -1
    ]


def texts(answer):
    return [part["text"] for raw_item in answer.items for part in plain(raw_item)["content"]]


def kinds(events):
    return [event["type"].removeprefix("response.") for event in events]


async def outcome(step):
    """What a call came to, in words."""
    try:
        answer = await step
    except ModelRefused as refused:
        return ("refused", refused.status, refused.code, refused.param, refused.retry_after_s)
    except ModelUnavailable as error:
        return ("unavailable", str(error))
    else:
        return answer


async def drained(upstream, call):
    return [event async for event in upstream.stream(call)][-1]


async def test_a_plain_answer_is_whole(upstream):
    answer = await upstream.complete(asking("[[say Hello there]]"))
    (item,) = map(plain, answer.items)
    assert (answer.status, answer.model, answer.reason, answer.error_code) == (
        "completed",
        "simulator",
        None,
        None,
    )
    assert (item["type"], item["role"], item["status"], texts(answer)) == (
        "message",
        "assistant",
        "completed",
        ["Hello there"],
    )
    used = plain(answer.usage)
    assert list(used) == [
        "input_tokens",
        "input_tokens_details",
        "output_tokens",
        "output_tokens_details",
        "total_tokens",
    ]
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"] > 0


async def test_a_stream_tells_the_contracts_events_and_the_same_answer(upstream):
    call = asking("[[say Hello there]]")
    events, answer = await streamed(upstream, call)
    assert kinds(events) == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    deltas = [event["delta"] for event in events if event["type"].endswith("text.delta")]
    assert "".join(deltas) == events[4]["text"] == events[5]["part"]["text"] == "Hello there"
    assert [events[6]["item"]] == [plain(item) for item in answer.items]
    added = events[0]["item"]
    assert (added["status"], added["content"], events[6]["item"]["status"]) == (
        "in_progress",
        [],
        "completed",
    )
    identities = {event.get("item_id") or event["item"]["id"] for event in events}
    assert identities == {added["id"]}
    whole = await upstream.complete(call)
    assert (texts(whole), whole.usage, whole.status) == (
        texts(answer),
        answer.usage,
        answer.status,
    )


async def test_the_keys_of_an_event_are_its_type_and_then_the_alphabet(upstream):
    events, _ = await streamed(upstream, asking("[[call look {}]]", tools=TOOLS))
    texted, _ = await streamed(upstream, asking("Hi"))
    for event in (*events, *texted):
        names = [name for name in event if name != "sequence_number"]
        assert names == ["type", *sorted(names[1:])]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_parallel_calls_are_answered_in_their_order(upstream, stream):
    call = asking('[[call look {"a":1}]] [[call hear {}]]', tools=TOOLS)
    answer = (await streamed(upstream, call))[1] if stream else await upstream.complete(call)
    called = [plain(item) for item in answer.items]
    assert [(one["type"], one["name"], one["arguments"], one["status"]) for one in called] == [
        ("function_call", "look", '{"a":1}', "completed"),
        ("function_call", "hear", "{}", "completed"),
    ]
    assert len({one["call_id"] for one in called}) == len({one["id"] for one in called}) == 2


async def test_a_streamed_call_is_told_from_added_to_done(upstream):
    events, answer = await streamed(upstream, asking('[[call look {"a":1}]]', tools=TOOLS))
    assert kinds(events)[0] == "output_item.added"
    assert kinds(events)[-2:] == ["function_call_arguments.done", "output_item.done"]
    assert set(kinds(events)[1:-2]) == {"function_call_arguments.delta"}
    assert (events[0]["item"]["arguments"], events[0]["item"]["status"]) == ("", "in_progress")
    assert "".join(event["delta"] for event in events[1:-2]) == events[-2]["arguments"] == '{"a":1}'
    assert events[-1]["item"] == plain(answer.items[0])


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_an_answer_that_was_cut_is_incomplete_and_says_why(upstream, stream):
    call = asking("[[incomplete]] [[words 20]]")
    answer = (await streamed(upstream, call))[1] if stream else await upstream.complete(call)
    assert (answer.status, answer.reason) == ("incomplete", "max_output_tokens")
    assert plain(answer.items[0])["status"] == "incomplete"
    assert plain(answer.usage)["output_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_failed_response_is_an_answer_that_says_why(simulator_url, stream):
    upstream = endpoint("responses", simulator_url)
    call = asking("[[fail]]")
    answer = await (drained(upstream, call) if stream else upstream.complete(call))
    await upstream.aclose()
    assert (answer.status, answer.error_code, answer.error_message, answer.items) == (
        "failed",
        "server_error",
        "The server had an error while processing your request. Sorry about that!",
        (),
    )


async def test_trouble_is_told_as_refusals_and_unavailability(upstream):
    orders = ["error 400", "error 404", "error 429", "error 401", "error 500", "drop]] [[words 50"]
    steps = {
        (order, stream): drained(upstream, asking(f"[[{order}]]"))
        if stream
        else upstream.complete(asking(f"[[{order}]]"))
        for order in orders
        for stream in (False, True)
    }
    outcomes = dict(zip(steps, await asyncio.gather(*map(outcome, steps.values())), strict=True))
    expected = {
        "error 400": ("refused", 400, None, None, None),
        "error 404": ("refused", 404, None, None, None),
        "error 429": ("refused", 429, "rate_limit_exceeded", None, 1),
        "error 401": (
            "unavailable",
            "The model's server refused the credentials of this service.",
        ),
        "error 500": ("unavailable", "The model answered with status 500."),
        "drop]] [[words 50": ("unavailable", "The connection to the model failed."),
    }
    assert outcomes == {key: expected[key[0]] for key in steps}


async def test_a_model_that_does_not_exist_is_refused_in_the_upstreams_words(upstream):
    call = Call(model="nope", items=asking("Hi").items, parameters={})
    with pytest.raises(ModelRefused) as refused:
        await upstream.complete(call)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert "nope" in refused.value.message


async def test_a_model_that_nobody_serves_is_unavailable(api):
    upstream = endpoint(api, "http://127.0.0.1:1/v1")
    steps = (upstream.complete(asking("Hi")), drained(upstream, asking("Hi")))
    unavailable = ("unavailable", "The connection to the model failed.")
    assert await asyncio.gather(*map(outcome, steps)) == [unavailable] * 2
    await upstream.aclose()


async def test_the_upstreams_models_are_passed_on(upstream):
    assert [one["id"] for one in json.loads(await upstream.models())["data"]] == [
        "simulator",
        "simulator-reasoning",
        "simulator-forgetful",
    ]


async def test_one_model_is_passed_on_as_it_is_listed(upstream):
    (listed, *_) = json.loads(await upstream.models())["data"]
    assert json.loads(await upstream.retrieve_model("simulator")) == listed


async def test_a_model_that_is_not_listed_is_not_found(upstream):
    with pytest.raises(ModelRefused) as refused:
        await upstream.retrieve_model("no/such model")
    error = refused.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert error.message == "The model 'no/such model' does not exist."


async def received(simulator_url):
    """The newest request as the simulator got it."""
    async with httpx.AsyncClient() as client:
        url = simulator_url.removesuffix("/v1") + "/simulator/requests?limit=1"
        return (await client.get(url)).json()[-1]["body"]


async def test_the_responses_api_is_sent_the_whole_window_and_no_state(simulator_url):
    upstream = endpoint("responses", simulator_url)
    summary = compaction_item("cmp_1", blob=SEALER.seal("Before."))
    call = asking(
        "Hi",
        summary,
        reasoning("rs_1"),
        said("msg_0", "Hello"),
        temperature=0.5,
        metadata={"a": "b"},
        truncation="auto",
        instructions="Be terse.",
    )
    await upstream.complete(call)
    await upstream.aclose()
    sent = await received(simulator_url)
    assert [item["role"] for item in sent.pop("input")] == ["developer", "assistant", "user"]
    assert sent == {
        "model": "simulator",
        "temperature": 0.5,
        "instructions": "Be terse.",
        "store": False,
        "stream": False,
    }


async def test_the_chat_api_is_sent_the_same_window_in_its_own_spelling(simulator_url):
    upstream = endpoint("chat", simulator_url)
    summary = compaction_item("cmp_1", blob=SEALER.seal("Before."))
    call = asking("Hi", summary, reasoning("rs_1"), max_output_tokens=16, instructions="Be terse.")
    await drained(upstream, call)
    await upstream.aclose()
    sent = await received(simulator_url)
    assert [one["role"] for one in sent.pop("messages")] == ["system", "system", "user"]
    assert sent == {
        "model": "simulator",
        "max_completion_tokens": 16,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_an_api_nobody_has_is_a_fault_of_the_settings():
    with pytest.raises(SettingsError, match=r"TURNLOG_MODEL_API: .*telepathy"):
        settings.read(ModelSettings, {"TURNLOG_MODEL_API": "telepathy"})
