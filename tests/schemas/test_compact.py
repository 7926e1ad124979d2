"""What is taken and refused of ``POST /v1/responses/compact``."""

import json
from pathlib import Path

import pytest

from schemas.http.compact import read_compact
from tests.builders import raw
from tests.schemas.answers import invalid, lacking, long, refusal, unsupported, wrong

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"
NOTHING = invalid(
    'One of "input" or "previous_response_id" must be provided.',
    param=None,
    code="missing_required_parameter",
)


def read(body):
    return read_compact(bytes(raw(body)), strict=True)


@pytest.mark.parametrize("name", ["compact_request_by_input", "compact_request_by_previous"])
def test_the_contracts_samples_are_read(name):
    sample = json.loads((SAMPLES / f"{name}.json").read_text())
    asked = read(sample)
    assert (asked.model, asked.input, asked.previous_response_id) == (
        sample["model"],
        raw(sample["input"]) if "input" in sample else None,
        sample.get("previous_response_id"),
    )


def test_a_model_is_named_if_only_by_null():
    assert read({"model": None, "input": "x"}).model is None
    assert refusal(read_compact, b'{"input":"x"}', strict=False) == lacking("model")


def test_a_response_may_be_followed_and_more_be_brought():
    asked = read({"model": "m", "input": [], "previous_response_id": "resp_1"})
    assert (asked.input, asked.previous_response_id) == (raw([]), "resp_1")


def test_parameters_are_kept_as_the_clients_bytes():
    body = (
        b'{"model":"m","input":"x","instructions":"Be \\u00e9.","prompt_cache_key":null,'
        b'"prompt_cache_options":{ "ttl":"30m"},"service_tier":"flex","image":{},"zzz":1}'
    )
    asked = read_compact(body, strict=False)
    assert {name: bytes(value) for name, value in asked.parameters.items()} == {
        "prompt_cache_options": b'{ "ttl":"30m"}',
        "instructions": b'"Be \\u00e9."',
        "service_tier": b'"flex"',
        "image": b"{}",
    }


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"model": 5}, wrong("model", "a string", "an integer")),
        ({"input": None}, NOTHING),
        ({"input": 5}, wrong("input", "one of a string or array of input items", "an integer")),
        (
            {"previous_response_id": "abc"},
            invalid(
                "Invalid 'previous_response_id': 'abc'. Expected an ID that begins with 'resp'.",
                param="previous_response_id",
                code="invalid_value",
            ),
        ),
        ({"instructions": 5}, wrong("instructions", "a string", "an integer")),
        ({"prompt_cache_key": "k" * 65}, long("prompt_cache_key", 64, 65)),
        (
            {"prompt_cache_retention": "x"},
            unsupported("prompt_cache_retention", "x", "'in_memory' and '24h'"),
        ),
        (
            {"prompt_cache_options": {"ttl": "12h"}},
            unsupported("prompt_cache_options.ttl", "12h", "'30m'"),
        ),
        (
            {"service_tier": "scale"},
            unsupported(
                "service_tier", "scale", "'auto', 'default', 'fast', 'flex', and 'priority'"
            ),
        ),
        ({"image": 5}, wrong("image", "an object", "an integer")),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(fields, answer):
    body = {"model": "m", "input": "x", **fields}
    assert refusal(read_compact, bytes(raw(body)), strict=False) == answer
