"""A strict door: names nobody knows, and the names the SDK knows."""

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import responses as sdk
from openai.types.conversations import (
    ConversationCreateParams,
    ConversationUpdateParams,
    ItemCreateParams,
)

from schemas.http import conversations, known
from schemas.http.compact import read_compact
from schemas.http.create_response import read_create
from schemas.http.input_tokens import read_input_tokens
from tests.builders import PROPERTY, raw
from tests.schemas.answers import invalid, refusal

MODEL = {"model": "m", "input": "x"}


def strictly(read, body):
    return refusal(read, bytes(raw(body)), strict=True)


def unknown(param: str, *suggested: str):
    meant = f" Did you mean {' or '.join(suggested)}?" if suggested else ""
    return invalid(f"Unknown parameter: '{param}'.{meant}", param=param, code="unknown_parameter")


UNKNOWN = [
    ({"zzz": 1}, unknown("zzz")),
    ({"zzz": None}, unknown("zzz")),
    ({"max_tokens": 16}, unknown("max_tokens")),
    # Two letters off is near, three are not; what was sent is not what was meant.
    ({"stop": "x"}, unknown("stop", "'store'")),
    ({"sto": 1}, unknown("sto", "'store'")),
    ({"st": 1}, unknown("st")),
    ({"stre": 1}, unknown("stre", "'store'", "'stream'")),
    ({"strem": 1}, unknown("strem", "'stream'", "'store'")),
    ({"strem": 1, "stream": True}, unknown("strem", "'store'")),
    ({"usr": 1}, unknown("usr", "'user'")),
    ({"modell": 1}, unknown("modell")),
    ({"inpu": 1}, unknown("inpu")),
    ({"zzz": 1, "yyy": 1}, unknown("zzz")),
    # Inside of parameters
    ({"text": {"formt": {}}}, unknown("text.formt", "'text.format'")),
    (
        {"text": {"format": {"type": "text", "strictly": 1}}},
        unknown("text.format.strictly", "'text.format.strict'"),
    ),
    ({"reasoning": {"bogus": 1}}, unknown("reasoning.bogus")),
    ({"stream_options": {"include_usage": True}}, unknown("stream_options.include_usage")),
    ({"prompt_cache_options": {"bogus": 1}}, unknown("prompt_cache_options.bogus")),
    ({"conversation": {"id": "conv_1", "ix": 1}}, unknown("conversation.ix")),
    (
        {"context_management": [{"type": "compaction"}, {"type": "compaction", "threshold": 1}]},
        unknown("context_management[1].threshold"),
    ),
    (
        {"moderation": {"model": "m", "policy": {"output": {"level": "x"}}}},
        unknown("moderation.policy.output.level"),
    ),
]


@pytest.mark.parametrize(("fields", "answer"), UNKNOWN, ids=[str(each[0]) for each in UNKNOWN])
def test_a_name_nobody_knows_is_refused_with_those_it_may_have_meant(fields, answer):
    assert strictly(read_create, {**MODEL, **fields}) == answer


def test_messages_have_become_input():
    assert strictly(read_create, {**MODEL, "messages": []}) == invalid(
        "Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to "
        "'input'. Try again with the new parameter. See the API documentation for more "
        "information: https://platform.openai.com/docs/api-reference/responses/create.",
        param=None,
        code="unsupported_parameter",
    )
    assert read_create(bytes(raw({**MODEL, "messages": []})), strict=False).model == "m"


@pytest.mark.parametrize(
    ("read", "body", "answer"),
    [
        (conversations.read_create, {"metdata": {}}, unknown("metdata", "'metadata'")),
        (conversations.read_update, {"metadata": {}, "items": []}, unknown("items")),
        (conversations.read_items, {"items": [], "metadata": {}}, unknown("metadata")),
        (read_input_tokens, {"store": False}, unknown("store")),
        (read_input_tokens, {"text": {"x": 1}}, unknown("text.x")),
        (read_compact, {**MODEL, "conversation": "conv_1"}, unknown("conversation")),
        (read_compact, {**MODEL, "store": False}, unknown("store")),
        (
            read_compact,
            {**MODEL, "prompt_cache_options": {"prewarm": True}},
            unknown("prompt_cache_options.prewarm"),
        ),
    ],
)
def test_every_body_is_read_strictly(read, body, answer):
    assert strictly(read, body) == answer
    read(bytes(raw(body)), strict=False)


ORDER = [
    ({"zzz": 1}, "model"),
    ({"model": "m", "zzz": 1}, None),
    ({**MODEL, "input": 5, "zzz": 1}, "zzz"),
    ({**MODEL, "temperature": 9, "zzz": 1}, "zzz"),
    ({**MODEL, "text": {"zzz": 1}, "include": "x"}, "include"),
    ({**MODEL, "text": {"zzz": 1}, "temperature": 9}, "text.zzz"),
]


@pytest.mark.parametrize(("body", "param"), ORDER)
def test_unknown_names_come_after_the_input_is_missed_and_before_values(body, param):
    _, answer = strictly(read_create, body)
    assert answer["error"]["param"] == param


def test_a_name_of_any_length_is_looked_up_at_once():
    status, _ = strictly(read_create, {**MODEL, "x" * 1_000_000: 1})
    assert status == 400


def members(kind: object) -> set[str]:
    """Names of a parameter in the SDK, however it is wrapped."""
    if hasattr(kind, "__required_keys__"):
        return set(kind.__required_keys__ | kind.__optional_keys__)
    return {name for part in typing.get_args(kind) for name in members(part)}


SDK = [
    (known.CREATE_RESPONSE, sdk.response_create_params.ResponseCreateParamsStreaming),
    (known.INPUT_TOKENS, sdk.input_token_count_params.InputTokenCountParams),
    (known.COMPACT, sdk.ResponseCompactParams),
    (known.CREATE_CONVERSATION, ConversationCreateParams),
    (known.UPDATE_CONVERSATION, ConversationUpdateParams),
    (known.CREATE_ITEMS, ItemCreateParams),
]
NOT_IN_THE_SDK = {
    # Taken by the API all the same; it has fields for them in the Response.
    "presence_penalty",
    "frequency_penalty",
}
IN_THE_QUERY = {"include"}


@pytest.mark.parametrize(("names", "kind"), SDK, ids=[each[1].__name__ for each in SDK])
def test_every_name_the_sdk_sends_is_known(names, kind):
    sends = members(kind)
    if names is known.CREATE_ITEMS:
        sends -= IN_THE_QUERY
    assert sends == set(names) - NOT_IN_THE_SDK


def test_every_name_the_sdk_sends_inside_of_parameters_is_known():
    hints = typing.get_type_hints(sdk.response_create_params.ResponseCreateParamsStreaming)
    inside = {name: names for name, names in known.CREATE_RESPONSE.items() if names}
    assert {name: members(hints[name]) for name in inside} == {
        name: set(names) for name, names in inside.items()
    }


@PROPERTY
@given(st.text(max_size=8), st.text(max_size=8))
def test_a_distance_is_one_like_any_other(one, other):
    there, back = known._distance(one, other), known._distance(other, one)
    assert there == back
    assert (there == 0) == (one == other)
    assert abs(len(one) - len(other)) <= there <= max(len(one), len(other))
    assert known._distance(one + "x", other + "x") <= there
