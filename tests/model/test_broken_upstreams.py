"""Answers that are none: the model is unavailable, and no other exception comes of it."""

import gzip
from typing import Any

import pytest

from tests.model.calling import (
    FORMS,
    asking,
    connected,
    outcome,
)
from tests.upstream import DROP, Said, ScriptedUpstream, body

PLAIN = {
    "no_json": b"<html>",
    "null": b"null",
    "array": b"[]",
    "text": b'"x"',
    "empty": b"",
    "empty_object": b"{}",
    "no_utf8": b'{"id":"\xff"}',
    "nested_too_deep": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "infinite": b'{"status":NaN}',
}
PLAIN_OF = {
    "responses": {
        **PLAIN,
        "error_with_status_200": b'{"error":{"message":"Nope","code":"x"}}',
        "output_of_another_kind": b'{"status":"completed","output":5}',
        "no_output": b'{"status":"completed"}',
        "null_output": b'{"status":"incomplete","output":null}',
        "item_of_another_kind": b'{"status":"completed","output":[5]}',
        "item_without_type": b'{"status":"completed","output":[{"id":"x"}]}',
        "message_of_another_kind": b'{"status":"completed","output":[{"type":"message",'
        b'"content":5}]}',
        "part_of_another_kind": b'{"status":"completed","output":[{"type":"message",'
        b'"content":[5]}]}',
        "usage_of_another_kind": b'{"status":"completed","output":[],"usage":5}',
        "in_progress": b'{"status":"in_progress","output":[]}',
        "status_nobody_knows": b'{"status":"resting","output":[]}',
    },
    "chat": {
        **PLAIN,
        "no_choices": b'{"choices":[]}',
        "choice_of_another_kind": b'{"choices":[5]}',
        "message_null": b'{"choices":[{"message":null}]}',
        "message_of_another_kind": b'{"choices":[{"message":"x"}]}',
        "calls_of_another_kind": b'{"choices":[{"message":{"tool_calls":["x"]}}]}',
        "content_of_another_kind": b'{"choices":[{"message":{"content":5}}]}',
        "usage_of_another_kind": b'{"choices":[{"message":{"content":"x"}}],"usage":[5]}',
        "call_without_a_name": b'{"choices":[{"message":{"tool_calls":[{"id":"c"}]}}]}',
    },
}


def each_of(bodies: dict[str, dict[str, bytes]]) -> list[Any]:
    return [
        pytest.param(api, payload, id=f"{api}-{name}")
        for api, named in bodies.items()
        for name, payload in named.items()
    ]


@pytest.mark.parametrize(("api", "payload"), each_of(PLAIN_OF))
async def test_an_answer_that_cannot_be_understood_is_unavailability(
    scripted: ScriptedUpstream, mark: str, api: str, payload: bytes
):
    scripted.plan(mark, body(payload))

    kind, why, _ = await outcome(connected(api, scripted.url), asking(mark), streamed=False)

    assert kind == "unavailable", why
    assert why.startswith("The model's answer")


TEXT = b'{"type":"response.output_text.delta","delta":"x"}'
STREAMS_OF = {
    "responses": {
        "nothing": b"",
        "no_stream": b"<html></html>",
        "no_json": b"data: {\n\n",
        "no_utf8": b"data: \xff\n\n",
        "another_kind": b"data: 5\n\n",
        "nested_too_deep": b"data: " + b"[" * 5_000 + b"\n\n",
        "no_end": b'data: {"type":"keepalive"}\n\n',
        "done_alone": b"data: [DONE]\n\n",
        "event_without_its_fields": b"data: %b\n\n" % TEXT,
        "end_without_response": b'data: {"type":"response.completed"}\n\n',
        "end_with_null": b'data: {"type":"response.completed","response":null}\n\n',
        "end_that_has_not_ended": b'data: {"type":"response.completed","response":{"status":'
        b'"in_progress","output":[]}}\n\n',
    },
    "chat": {
        "nothing": b"",
        "no_stream": b"<html></html>",
        "no_json": b"data: {\n\n",
        "no_utf8": b"data: \xff\n\n",
        "another_kind": b"data: 5\n\n",
        "no_end": b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n',
        "done_alone": b"data: [DONE]\n\n",
        "delta_of_another_kind": b'data: {"choices":[{"delta":"x","finish_reason":"stop"}]}\n\n',
        "usage_of_another_kind": b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":'
        b'"stop"}],"usage":[5]}\n\n',
        "choices_of_another_kind": b'data: {"choices":5}\n\n',
        "call_without_a_name": b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]},'
        b'"finish_reason":"stop"}]}\n\n',
    },
}


@pytest.mark.parametrize(("api", "payload"), each_of(STREAMS_OF))
async def test_a_stream_that_breaks_off_or_is_none_is_unavailability(
    scripted: ScriptedUpstream, mark: str, api: str, payload: bytes
):
    scripted.plan(mark, Said(chunks=(payload,), kind="text/event-stream"))

    kind, why, _ = await outcome(connected(api, scripted.url), asking(mark), streamed=True)

    assert kind == "unavailable", why
    assert why.startswith("The model's answer")


ODD = {
    "no_gzip": Said(chunks=(b"no gzip",), headers={"content-encoding": "gzip"}),
    "cut_gzip": Said(chunks=(gzip.compress(b"{}")[:-9],), headers={"content-encoding": "gzip"}),
    "cut": Said(chunks=(b"{", DROP), sized=True),
    "no_chunks": Said(chunks=(b"x",), headers={"content-length": "1"}),
    "moved_in_a_circle": Said(status=307, headers={"location": "/v1/responses"}),
    "moved_nowhere": Said(status=307),
    "not_modified": Said(status=304),
    "header_of_two_lines": Said(chunks=(b"{}",), headers={"x": "a\r\nnonsense"}),
    "status_nobody_knows": Said(status=799),
}


@pytest.mark.parametrize("streamed", FORMS)
@pytest.mark.parametrize("name", ODD)
async def test_whatever_else_goes_wrong_on_the_wire_is_unavailability(
    scripted: ScriptedUpstream, mark: str, name: str, *, streamed: bool
):
    scripted.plan(mark, ODD[name])

    opened = connected("responses", scripted.url)
    kind, why, _ = await outcome(opened, asking(mark), streamed=streamed)

    assert kind == "unavailable", why
