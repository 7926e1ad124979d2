import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from openai.types.responses import Response

from services.conversation.history import Turn, item_of
from services.conversation.response import render
from tests.builders import AT, CONVERSATION_ID, message, raw, said, usage

KEYS = [
    "id",
    "object",
    "created_at",
    "status",
    "background",
    "completed_at",
    "conversation",
    "error",
    "frequency_penalty",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "model",
    "moderation",
    "output",
    "parallel_tool_calls",
    "presence_penalty",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "usage",
    "user",
    "metadata",
]
"""Order of the wire (contract 1.5)."""

SAMPLE = (
    b'{"id":"resp_1","object":"response","created_at":1761318654,"status":"completed",'
    b'"background":false,"completed_at":1761318656,"conversation":null,"error":null,'
    b'"frequency_penalty":0.0,"incomplete_details":null,"instructions":null,'
    b'"max_output_tokens":null,"max_tool_calls":null,"model":"gpt-5.6-terra","moderation":null,'
    b'"output":[{"id":"msg_2","type":"message","status":"completed","content":[{"type":'
    b'"output_text","annotations":[],"logprobs":[],"text":"Hi! How can I help?"}],'
    b'"role":"assistant"}],"parallel_tool_calls":true,"presence_penalty":0.0,'
    b'"previous_response_id":null,"prompt_cache_key":null,"prompt_cache_retention":null,'
    b'"reasoning":{"effort":null,"summary":null},"safety_identifier":null,'
    b'"service_tier":"default","store":true,"temperature":1.0,"text":{"format":{"type":"text"},'
    b'"verbosity":"medium"},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,'
    b'"truncation":"disabled","usage":{"input_tokens":16,"input_tokens_details":'
    b'{"cache_write_tokens":0,"cached_tokens":0},"output_tokens":0,"output_tokens_details":'
    b'{"reasoning_tokens":0},"total_tokens":16},"user":null,"metadata":{}}'
)


def turn(status="completed", *, parameters=None, **changes: object):
    ended = status != "in_progress"
    answered = status in ("completed", "incomplete")
    standing = Turn(
        id="resp_1",
        status=status,
        model="gpt-5.6-terra",
        parameters=raw(parameters or {}),
        input=(message("msg_1"),),
        on_line=False,
        parent=None,
        store=True,
        requested_at=AT,
        output=(said("msg_2", "Hi! How can I help?"),) if answered else (),
        usage=usage(16) if answered else None,
        ended_at=AT + timedelta(seconds=2) if ended else None,
    )
    return msgspec.structs.replace(standing, **changes)


def shown(of, *names: str):
    rendered = json.loads(render(of, conversation_id=CONVERSATION_ID))
    return {name: rendered[name] for name in names}


def test_a_completed_response_is_rendered_byte_for_byte():
    assert render(turn(), conversation_id=CONVERSATION_ID) == SAMPLE


@pytest.mark.parametrize("status", ["in_progress", "completed", "incomplete", "failed"])
def test_every_response_has_every_field_in_the_order_of_the_wire(status):
    rendered = json.loads(render(turn(status), conversation_id=CONVERSATION_ID))
    assert list(rendered) == KEYS


def test_a_running_response_has_no_output_and_no_usage_yet():
    names = ("status", "completed_at", "output", "service_tier", "usage", "error")
    assert shown(turn("in_progress"), *names) == {
        "status": "in_progress",
        "completed_at": None,
        "output": [],
        "service_tier": "auto",
        "usage": None,
        "error": None,
    }


def test_an_incomplete_response_says_why_and_has_no_time_of_completion():
    names = ("status", "completed_at", "incomplete_details", "service_tier")
    assert shown(turn("incomplete", reason="max_output_tokens"), *names) == {
        "status": "incomplete",
        "completed_at": None,
        "incomplete_details": {"reason": "max_output_tokens"},
        "service_tier": "default",
    }


def test_a_failed_response_says_why():
    failed = turn("failed", error_code="server_error", error_message="It broke.")
    assert shown(failed, "status", "completed_at", "error", "output", "usage") == {
        "status": "failed",
        "completed_at": None,
        "error": {"code": "server_error", "message": "It broke."},
        "output": [],
        "usage": None,
    }


def test_a_response_on_the_line_names_its_conversation_and_one_in_a_chain_its_parent():
    names = ("conversation", "previous_response_id", "store")
    assert shown(turn(on_line=True, store=False), *names) == {
        "conversation": {"id": CONVERSATION_ID},
        "previous_response_id": None,
        "store": False,
    }
    assert shown(turn(parent="resp_0"), *names) == {
        "conversation": None,
        "previous_response_id": "resp_0",
        "store": True,
    }


ECHOED = {
    "instructions": "Be terse.",
    "max_output_tokens": 100,
    "max_tool_calls": 3,
    "parallel_tool_calls": False,
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "temperature": 0.5,
    "tool_choice": {"type": "function", "name": "look"},
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
    "top_logprobs": 2,
    "top_p": 0.25,
    "truncation": "auto",
    "user": "u",
    "metadata": {"a": "b"},
}


SAMPLES = {
    path.stem: json.loads(path.read_text())
    for path in (Path(__file__).parents[1] / "contract" / "samples").glob("response_*.json")
    if '"created_at"' in path.read_text()
}
"""Every Response object among the contract's samples."""


def turn_of(sample):
    """The turn a sample of the contract is the public face of."""
    at = datetime.fromtimestamp(sample["created_at"], UTC)
    running = sample["status"] in ("queued", "in_progress")
    given = {name: sample[name] for name in (*ECHOED, "background") if sample[name] is not None}
    return Turn(
        id=sample["id"],
        status=sample["status"],
        model=sample["model"],
        parameters=raw(given),
        input=(),
        on_line=sample["conversation"] is not None,
        parent=sample["previous_response_id"],
        store=sample["store"],
        requested_at=at,
        output=tuple(item_of(raw(item), 1) for item in sample["output"]),
        usage=raw(sample["usage"]) if sample["usage"] else None,
        reason=(sample["incomplete_details"] or {}).get("reason"),
        error_code=(sample["error"] or {}).get("code"),
        error_message=(sample["error"] or {}).get("message"),
        ended_at=None if running else at + timedelta(seconds=2),
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_of_the_contract_is_rendered_as_it_is(name):
    sample = SAMPLES[name]
    conversation_id = (sample["conversation"] or {"id": CONVERSATION_ID})["id"]
    rendered = render(turn_of(sample), conversation_id=conversation_id)
    assert json.dumps(json.loads(rendered)) == json.dumps(sample)


EVERYTHING = {
    **ECHOED,
    "background": True,
    "frequency_penalty": -0.5,
    "presence_penalty": 1,
    "prompt_cache_options": {"ttl": "12h", "prewarm": True, "comparison_response_id": "resp_1"},
    "reasoning": {"effort": "xhigh", "context": "all_turns", "mode": "pro", "summary": None},
    "text": {
        "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
        "verbosity": None,
    },
    "service_tier": "fast",
}


@pytest.mark.parametrize("status", ["in_progress", "completed", "incomplete", "failed"])
@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_sdk_takes_every_response_at_its_word(status, parameters):
    rendered = render(turn(status, parameters=parameters), conversation_id=CONVERSATION_ID)
    read = Response.model_validate_json(rendered, strict=True)
    assert read.model_extra is not None
    assert set(read.model_extra) == {"frequency_penalty", "presence_penalty", "store"}


def test_what_was_asked_for_is_shown_whole_and_nothing_else():
    shown_as = {
        "background": True,
        "frequency_penalty": -0.5,
        "presence_penalty": 1,
        "prompt_cache_options": {
            "mode": "implicit",
            "ttl": "12h",
            "comparison_response_id": "resp_1",
        },
        "service_tier": "priority",
        "moderation": None,
    }
    hosted = {"moderation": {"model": "m"}, "image": {}, "access_programs": {}, "include": []}
    asked = turn(parameters={**EVERYTHING, **hosted, "stream": True, "background_options": {}})
    assert shown(asked, *shown_as) == shown_as
    rendered = json.loads(render(asked, conversation_id=CONVERSATION_ID))
    place = KEYS.index("prompt_cache_retention")
    assert list(rendered) == [*KEYS[:place], "prompt_cache_options", *KEYS[place:]]


@pytest.mark.parametrize(
    ("asked", "served"),
    [("auto", "default"), ("default", "default"), ("flex", "flex"), ("fast", "priority")],
)
def test_the_service_tier_is_open_until_the_end(asked, served):
    assert shown(turn("in_progress", parameters={"service_tier": asked}), "service_tier") == {
        "service_tier": "auto"
    }
    assert shown(turn(parameters={"service_tier": asked}), "service_tier") == {
        "service_tier": served
    }


def test_parameters_are_repeated_as_they_came():
    assert shown(turn(parameters=ECHOED), *ECHOED) == ECHOED


def test_a_number_is_repeated_in_its_own_spelling():
    spelled = turn(parameters={})
    spelled = msgspec.structs.replace(spelled, parameters=msgspec.Raw(b'{"temperature":1}'))
    assert b'"temperature":1,' in render(spelled, conversation_id=CONVERSATION_ID)


@pytest.mark.parametrize(
    ("name", "given", "shown_as"),
    [
        ("text", {}, {"format": {"type": "text"}, "verbosity": "medium"}),
        ("text", {"verbosity": "low"}, {"format": {"type": "text"}, "verbosity": "low"}),
        (
            "text",
            {"format": {"type": "json_object"}},
            {"format": {"type": "json_object"}, "verbosity": "medium"},
        ),
        ("reasoning", {"effort": "high"}, {"effort": "high", "summary": None}),
        (
            "reasoning",
            {"summary": "auto", "context": "auto"},
            {"effort": None, "summary": "auto", "context": "auto"},
        ),
        (
            "text",
            {"format": None, "verbosity": None},
            {"format": {"type": "text"}, "verbosity": "medium"},
        ),
    ],
)
def test_text_and_reasoning_are_filled_with_their_defaults(name, given, shown_as):
    rendered = shown(turn(parameters={name: given}), name)
    assert json.dumps(rendered[name]) == json.dumps(shown_as)


@pytest.mark.parametrize("name", ["include", "context_management", "input", "stream", "unheard_of"])
def test_what_is_not_part_of_a_response_is_never_repeated(name):
    parameters = {name: True if name == "stream" else [{"type": "compaction"}]}
    rendered = json.loads(render(turn(parameters=parameters), conversation_id=CONVERSATION_ID))
    assert list(rendered) == KEYS
