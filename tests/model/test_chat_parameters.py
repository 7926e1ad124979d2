import json
from typing import Any

import msgspec
import pytest

from schemas.http.create_response import read_create
from schemas.http.errors import ApiError
from services.model import ModelRefused, chat_parameters
from tests.builders import raw

LOOK = {"type": "function", "name": "look"}
SQL = {"type": "custom", "name": "sql"}


def spelled(**given: object) -> dict[str, Any]:
    """The chat API's spelling of parameters, decoded."""
    sent = chat_parameters.parameters({name: raw(value) for name, value in given.items()})
    return json.loads(msgspec.json.encode(sent))


def refused(**given: object) -> tuple[int, str | None, str | None]:
    with pytest.raises(ModelRefused) as error:
        spelled(**given)
    assert "chat API" in error.value.message
    return error.value.status, error.value.param, error.value.code


def test_parameters_are_respelled_and_what_chat_does_not_know_is_left_out():
    assert spelled(
        max_output_tokens=16,
        temperature=0.5,
        top_p=1,
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        prompt_cache_retention="24h",
        service_tier="flex",
        parallel_tool_calls=False,
        truncation="auto",
        max_tool_calls=3,
        metadata={"a": "b"},
        include=[],
        text={
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": {},
                "strict": True,
                "description": "d",
            },
            "verbosity": "low",
        },
        reasoning={"effort": "low", "summary": None},
        tools=[
            {
                "type": "function",
                "name": "look",
                "description": None,
                "parameters": {"type": "object"},
                "strict": False,
            },
        ],
        tool_choice={"type": "function", "name": "look"},
    ) == {
        "temperature": 0.5,
        "top_p": 1,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "service_tier": "flex",
        "parallel_tool_calls": False,
        "max_completion_tokens": 16,
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "parameters": {"type": "object"}, "strict": False},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {}, "strict": True, "description": "d"},
        },
        "verbosity": "low",
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_choice_among_no_tools_is_left_out(choice: str):
    assert spelled(tools=[], tool_choice=choice, parallel_tool_calls=True) == {}


def test_a_simple_format_is_passed_on_and_an_absent_one_is_not():
    assert spelled(text={"format": {"type": "json_object"}}) == {
        "response_format": {"type": "json_object"}
    }
    assert spelled(text={}, reasoning={"effort": None}) == {}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, {"type": "text"}),
        (
            {"type": "grammar", "syntax": "lark", "definition": "start: A"},
            {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: A"}},
        ),
    ],
)
def test_a_custom_tool_is_offered_with_its_format(form: object, expected: object):
    sent = spelled(tools=[{**SQL, "description": "d", "format": form}])
    assert sent["tools"] == [
        {"type": "custom", "custom": {"name": "sql", "description": "d", "format": expected}}
    ]


@pytest.mark.parametrize(
    ("choice", "tools", "sent"),
    [
        ({"type": "custom", "name": "sql"}, 2, {"type": "custom", "custom": {"name": "sql"}}),
        ({"type": "allowed_tools", "mode": "required", "tools": [SQL]}, 1, "required"),
        ({"type": "allowed_tools", "tools": [SQL, LOOK]}, 2, "auto"),
    ],
)
def test_a_choice_is_told_in_words_every_server_takes(choice: object, tools: int, sent: object):
    told = spelled(tools=[LOOK, SQL], tool_choice=choice)
    assert (len(told["tools"]), told["tool_choice"]) == (tools, sent)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"top_logprobs": 0}, {}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
    ],
)
def test_likelihoods_are_asked_for_as_chat_has_it(given: dict[str, object], sent: object):
    assert spelled(**given) == sent


HOSTED = [
    "web_search",
    "web_search_preview",
    "file_search",
    "computer_use_preview",
    "code_interpreter",
    "image_generation",
    "mcp",
    "local_shell",
    "shell",
    "apply_patch",
    "namespace",
    "tool_search",
]


@pytest.mark.parametrize("kind", HOSTED)
def test_a_tool_the_server_would_have_to_host_is_refused(kind: str):
    assert refused(tools=[LOOK, {"type": kind}]) == (400, "tools[1].type", "invalid_value")


@pytest.mark.parametrize(
    "kind", ["web_search_preview", "mcp", "shell", "programmatic_tool_calling"]
)
def test_so_is_the_choice_of_one(kind: str):
    assert refused(tools=[LOOK], tool_choice={"type": kind}) == (
        400,
        "tool_choice",
        "invalid_value",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": {"format": 5}},
        {"text": {"format": {"schema": {}}}},
        {"tools": [LOOK], "tool_choice": {"type": "function"}},
        {"reasoning": {"effort": 5}},
    ],
    ids=["format", "format_without_type", "choice_without_name", "effort"],
)
def test_parameters_that_passed_the_door_do_not_break_their_respelling(wrong: dict[str, object]):
    try:
        read = read_create(bytes(raw({"model": "m", "input": "x", **wrong})), strict=False)
    except ApiError:
        return
    assert isinstance(chat_parameters.parameters(read.parameters), dict)
