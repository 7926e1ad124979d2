"""What an upstream says of itself, what is told of that, and what it is sent."""

import json

import pytest
import structlog.testing

from services.model import Answer, ModelUnavailable
from tests.builders import raw
from tests.model.calling import (
    CHUNK,
    FORMS,
    GOOD,
    asking,
    connected,
    outcome,
)
from tests.told_streams import Event, event, response, whole
from tests.told_streams import message as told_message
from tests.upstream import ScriptedUpstream, body, error, stream


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
async def test_an_error_event_is_a_failed_answer_in_the_upstreams_words(
    scripted: ScriptedUpstream, mark: str, *, nested: bool
):
    told: Event = {"message": "Nope", "code": "context_length_exceeded", "param": "input"}
    failure = {"type": "error", **({"error": told} if nested else told)}
    scripted.plan(mark, stream([*whole(told_message(0, "Hel"))[:5], failure]))

    opened = connected("responses", scripted.url)
    kind, answer, events = await outcome(opened, asking(mark), streamed=True)

    assert (kind, answer.status) == ("answer", "failed")
    assert (answer.error_code, answer.error_message) == ("context_length_exceeded", "Nope")
    assert events[-1]["delta"] == "Hel"


@pytest.mark.parametrize("streamed", FORMS)
@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        ({"code": "x", "message": "Nope"}, "x", "Nope"),
        ({"code": 5, "message": None}, "server_error", "The model failed."),
        (None, "server_error", "The model failed."),
    ],
)
async def test_a_failed_response_says_why_as_far_as_it_knows(
    scripted: ScriptedUpstream,
    mark: str,
    told: Event | None,
    code: str,
    said: str,
    *,
    streamed: bool,
):
    failed = response("failed", None, error=told, usage=None)
    answers = stream([event("failed", response=failed)]) if streamed else body(failed)
    scripted.plan(mark, answers)

    opened = connected("responses", scripted.url)
    _, answer, _ = await outcome(opened, asking(mark), streamed=streamed)

    assert (answer.status, answer.error_code, answer.error_message) == ("failed", code, said)


async def test_a_response_the_upstream_cancelled_has_failed(scripted: ScriptedUpstream, mark: str):
    scripted.plan(mark, body(response("cancelled", [])))

    opened = connected("responses", scripted.url)
    _, answer, _ = await outcome(opened, asking(mark), streamed=False)

    assert (answer.status, answer.error_code) == ("failed", "server_error")
    assert answer.error_message == "The model's server cancelled its answer."


CHAT_ERROR = {"message": "Nope", "code": "x"}


@pytest.mark.parametrize("streamed", FORMS)
@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        ({"error": CHAT_ERROR}, "x", "Nope"),
        ({"error": {**CHAT_ERROR, "code": 502}}, "server_error", "Nope"),
        ({"error": "Nope"}, "server_error", "Nope"),
        ({"choices": [{"error": CHAT_ERROR, "finish_reason": "error"}]}, "x", "Nope"),
        (
            {"choices": [{"finish_reason": "error"}]},
            "server_error",
            "The model reported an error.",
        ),
    ],
    ids=str,
)
async def test_an_error_in_a_chat_answer_is_a_failed_answer(
    scripted: ScriptedUpstream, mark: str, told: Event, code: str, said: str, *, streamed: bool
):
    scripted.plan(mark, stream([CHUNK, told]) if streamed else body(told))

    opened = connected("chat", scripted.url)
    _, answer, _ = await outcome(opened, asking(mark), streamed=streamed)

    assert (answer.status, answer.error_code, answer.error_message) == ("failed", code, said)


# What is not told


async def test_unknown_events_are_dropped_and_counted(scripted: ScriptedUpstream, mark: str):
    unknown = {"type": "response.hologram.delta", "delta": {"secret": 1}}
    events = whole(told_message(0, "Hi"))
    scripted.plan(
        mark, stream([{"type": "keepalive"}, *events[:4], unknown, unknown, *events[4:], unknown])
    )

    with structlog.testing.capture_logs() as logged:
        opened = connected("responses", scripted.url)
        _, answer, told = await outcome(opened, asking(mark), streamed=True)

    assert answer.status == "completed"
    assert told == events[2:-1]
    assert logged == [
        {
            "event": "stream.events_dropped",
            "log_level": "debug",
            "types": {"keepalive": 1, "response.hologram.delta": 2},
        }
    ]


async def test_what_an_upstream_says_of_our_key_is_told_to_nobody(
    scripted: ScriptedUpstream, api: str, mark: str
):
    scripted.plan(mark, error(401, "Incorrect API key provided: sk-secret."))

    with structlog.testing.capture_logs() as logged:
        _, why, _ = await outcome(connected(api, scripted.url), asking(mark), streamed=False)

    assert "secret" not in why + json.dumps(logged)
    assert logged == [{"event": "model.credentials_refused", "log_level": "error", "status": 401}]


# What is not sent


@pytest.mark.parametrize("streamed", FORMS)
async def test_what_chat_cannot_do_is_refused_before_anything_is_sent(
    scripted: ScriptedUpstream, mark: str, *, streamed: bool
):
    call = asking(mark, tools=[{"type": "web_search"}])

    kind, refused, _ = await outcome(connected("chat", scripted.url), call, streamed=streamed)

    assert (kind, refused.status, refused.param) == ("refused", 400, "tools[0].type")
    assert scripted.asked(mark) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"tools": [{"type": "function", "name": ["x"]}]},
        {"tools": [{"type": "custom", "name": "x", "format": "y"}]},
        {
            "tools": [{"type": "function", "name": "x"}],
            "tool_choice": {"type": "allowed_tools", "tools": [5]},
        },
    ],
    ids=str,
)
async def test_values_that_cannot_be_said_in_chat_are_refused(
    scripted: ScriptedUpstream, mark: str, odd: dict[str, object]
):
    call = asking(mark, **odd)
    kind, refused, _ = await outcome(connected("chat", scripted.url), call, streamed=False)
    assert (kind, refused.status) == ("refused", 400)


async def test_hosted_tools_and_what_to_include_reach_an_upstream_that_judges_them(
    scripted: ScriptedUpstream, mark: str
):
    scripted.plan(mark, GOOD["responses", False])
    given: dict[str, object] = {
        "tools": [{"type": "web_search"}, {"type": "mcp", "server_label": "dice"}],
        "tool_choice": {"type": "mcp", "server_label": "dice"},
        "include": ["web_search_call.action.sources", "reasoning.encrypted_content"],
    }

    await outcome(connected("responses", scripted.url), asking(mark, **given), streamed=False)

    (sent,) = scripted.asked(mark)
    assert {name: sent[name] for name in given} == given


async def test_counts_an_upstream_left_out_are_zero(scripted: ScriptedUpstream, mark: str):
    used = {"input_tokens": 3, "total_tokens": 3, "output_tokens_details": None}
    scripted.plan(mark, body({"status": "completed", "output": [], "usage": used}))

    opened = connected("responses", scripted.url)
    _, answer, _ = await outcome(opened, asking(mark), streamed=False)

    assert answer == Answer(
        status="completed",
        items=(),
        usage=raw(
            {
                "input_tokens": 3,
                "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
                "output_tokens": 0,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 3,
            }
        ),
        model="m",
    )


@pytest.mark.parametrize("listed", [b"<html>", b"{}", b'{"data":[5]}', b'{"data":[{}]}'])
async def test_a_list_of_models_that_is_none_is_unavailability(
    scripted: ScriptedUpstream, listed: bytes
):
    scripted.plan("", body(listed))
    opened = connected("chat", scripted.url)
    with pytest.raises(ModelUnavailable):
        await opened.retrieve_model("m")
    await opened.aclose()
