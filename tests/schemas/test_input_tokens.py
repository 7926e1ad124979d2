"""What is taken and refused of ``POST /v1/responses/input_tokens``."""

import json
from pathlib import Path

import msgspec
import pytest

from schemas.http.input_tokens import read_input_tokens
from tests.builders import raw
from tests.schemas.answers import invalid, lacking, long, refusal, unsupported, wrong

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"


def read(body):
    return read_input_tokens(bytes(raw(body)), strict=True)


def test_nothing_needs_to_be_said():
    assert read({}) == read_input_tokens(b"", strict=True)
    assert msgspec.structs.asdict(read({})) == {
        "model": None,
        "input": None,
        "conversation": None,
        "previous_response_id": None,
        "truncation": "disabled",
        "parameters": {},
    }


def test_the_contracts_sample_is_read():
    sample = json.loads((SAMPLES / "input_tokens_request.json").read_text())
    asked = read(sample)
    assert (asked.model, asked.input, asked.conversation) == (
        sample["model"],
        raw(sample["input"]),
        sample["conversation"],
    )


def test_everything_may_be_null():
    names = (
        *("conversation", "input", "instructions", "model", "parallel_tool_calls", "personality"),
        *("previous_response_id", "reasoning", "text", "tool_choice", "tools", "truncation"),
    )
    assert read(dict.fromkeys(names)) == read({})


def test_what_is_counted_is_kept_as_the_clients_bytes():
    body = (
        b'{"model":"m","instructions":"Be \\u00e9.","tools":[ {"type":"x"} ],"truncation":"auto",'
        b'"personality":"friendly","previous_response_id":"resp_1","zzz":1}'
    )
    asked = read_input_tokens(body, strict=False)
    assert (asked.truncation, asked.previous_response_id) == ("auto", "resp_1")
    assert {name: bytes(value) for name, value in asked.parameters.items()} == {
        "tools": b'[ {"type":"x"} ]',
        "truncation": b'"auto"',
        "instructions": b'"Be \\u00e9."',
        "personality": b'"friendly"',
    }


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"model": 5}, wrong("model", "a string", "an integer")),
        ({"input": 5}, wrong("input", "one of a string or array of input items", "an integer")),
        ({"personality": "p" * 65}, long("personality", 64, 65)),
        ({"truncation": "x"}, unsupported("truncation", "x", "'auto' and 'disabled'")),
        ({"tools": [{"type": "function"}]}, lacking("tools[0].name")),
        ({"text": {"format": {"type": "json_schema"}}}, lacking("text.format.name")),
        (
            {"conversation": "conv_1", "previous_response_id": "resp_1"},
            invalid(
                "Mutually exclusive parameters: ''. Ensure you are only providing one of: "
                "'pre..._id' or 'conversation'.",
                param=None,
                code="mutually_exclusive_parameters",
            ),
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_as_for_a_response(body, answer):
    assert refusal(read_input_tokens, bytes(raw(body)), strict=False) == answer
