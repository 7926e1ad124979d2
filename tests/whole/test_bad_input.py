"""What else may be sent that is wrong, beside the rows of the contract's tables."""

import socket

import pytest

from schemas import subjects
from tests.whole.refused import (
    BAD_JSON,
    CONVERSATIONS,
    ITEMS,
    RESPONSES,
    Case,
    Error,
    absent,
    asked,
    check,
    lacking,
    prefixed,
    turn,
    wrong,
)
from tests.whole.running import MODEL, Running, message, output_of, until

BODY_BYTES_MAX = 6 * 1024 * 1024
ABSENT_RESPONSE = f"resp_{'0' * 32}{'1' * 18}"
BROKEN = Error(message=BAD_JSON, code="invalid_json")

UNKNOWN_IDS = (
    Case(
        name="get response of another make",
        method="GET",
        path=f"{RESPONSES}/resp_absent",
        error=absent("Response", "resp_absent"),
    ),
    Case(
        name="turn after response of another make",
        path=RESPONSES,
        body=turn(previous_response_id="resp_absent"),
        error=Error(
            message="Previous response with id 'resp_absent' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        ),
    ),
    Case(
        name="unstored turn after response",
        path=RESPONSES,
        body=turn(previous_response_id=ABSENT_RESPONSE, store=False),
        error=Error(
            message=f"Previous response with id '{ABSENT_RESPONSE}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        ),
    ),
)

PREFIXES = (
    Case(
        name="wildcard in path",
        method="GET",
        path="/v1/conversations/conv_*",
        error=prefixed("conversation_id", "conv_*", "conv"),
    ),
    Case(
        name="dot in path",
        method="GET",
        path="/v1/conversations/conv_a.b",
        error=prefixed("conversation_id", "conv_a.b", "conv"),
    ),
    Case(name="NUL in path", method="GET", path="/v1/conversations/conv_%00"),
    Case(name="long id in path", method="GET", path="/v1/conversations/conv_" + "a" * 60),
    Case(name="conversation with a space", path=RESPONSES, body=turn(conversation="conv_ >")),
    Case(
        name="previous response",
        path=RESPONSES,
        body=turn(previous_response_id="msg_1"),
        error=prefixed("previous_response_id", "msg_1", "resp"),
    ),
    Case(
        name="item",
        path=ITEMS,
        body={"items": [{**message("x"), "id": "fc_1"}]},
        error=prefixed("items[0].id", "fc_1", "msg"),
    ),
    Case(
        name="item of a turn",
        path=RESPONSES,
        queued=True,
        body=turn(input=[message("x"), {**message("x"), "id": "x"}]),
        error=prefixed("input[1].id", "x", "msg"),
    ),
)

PAGES = (
    Case(name="limit negative", method="GET", path=ITEMS, query={"limit": "-1"}),
    Case(name="limit huge", method="GET", path=ITEMS, query={"limit": "9" * 5_000}),
    Case(name="limit with underscore", method="GET", path=ITEMS, query={"limit": "1_0"}),
    Case(name="after an odd id", method="GET", path=ITEMS, query={"after": "\x00'; --"}),
)

METADATA = (
    Case(
        name="null value",
        path=CONVERSATIONS,
        body={"metadata": {"k": None}},
        error=wrong("metadata.k", "a string", "null"),
    ),
    Case(
        name="update with 17 keys",
        path="/v1/conversations/{conversation}",
        body={"metadata": {f"k{n}": "v" for n in range(17)}},
        error=Error(param="metadata", code="object_above_max_properties"),
    ),
    Case(
        name="of a turn",
        path=RESPONSES,
        body=turn(metadata={"k": "v" * 513}),
        error=Error(param="metadata.k", code="string_above_max_length"),
    ),
)

BODIES = (
    Case(name="broken items", path=ITEMS, body=b'{"items": [', error=BROKEN),
    Case(name="broken turn", path=RESPONSES, body=b'{"model": "x" "input": 1}', error=BROKEN),
    Case(name="words behind", path=CONVERSATIONS, body=b"{} x", error=BROKEN),
    Case(name="byte order mark", path=CONVERSATIONS, body=b"\xef\xbb\xbf{}", error=BROKEN),
    Case(
        name="invalid UTF-8",
        path=RESPONSES,
        body=b'{"model": "m", "input": "\xff\xfe"}',
        error=BROKEN,
    ),
    Case(name="UTF-16", path=CONVERSATIONS, body="{}".encode("utf-16"), error=BROKEN),
    Case(
        name="half a surrogate pair",
        path=ITEMS,
        body=b'{"items": [{"role": "user", "content": "\\ud800"}]}',
        error=BROKEN,
    ),
    Case(
        name="raw NUL",
        path=ITEMS,
        body=b'{"items": [{"role": "user", "content": "\x00"}]}',
        error=BROKEN,
    ),
    Case(
        name="NaN",
        path=RESPONSES,
        body=b'{"model": "m", "input": "x", "temperature": NaN}',
        error=BROKEN,
    ),
    Case(name="infinity", path=RESPONSES, body=b'{"model": "m", "input": "x", "top_p": 1e999}'),
    Case(
        name="5,000 digits",
        path=RESPONSES,
        body=b'{"model": "m", "input": "x", "max_output_tokens": 1' + b"0" * 5_000 + b"}",
    ),
    Case(
        name="deep nesting",
        path=ITEMS,
        body=b'{"items": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        error=BROKEN,
    ),
    Case(
        name="deep objects",
        path=RESPONSES,
        body=b'{"model": "m", "input": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        error=BROKEN,
    ),
    Case(name="array", path=CONVERSATIONS, body=b"[]"),
    Case(name="null", path=RESPONSES, body=b"null"),
    Case(name="string", path=ITEMS, body=b'"x"'),
    Case(name="empty turn", path=RESPONSES, body=b"", error=lacking("model")),
    Case(name="empty items", path=ITEMS, body=b"", error=lacking("items")),
    Case(
        name="too large",
        path=ITEMS,
        body=b" " * (BODY_BYTES_MAX + 1),
        error=Error(status=413, code="*"),
    ),
    Case(
        name="too large turn",
        path=RESPONSES,
        body=turn(input="x" * (BODY_BYTES_MAX + 1)),
        error=Error(status=413, code="*"),
    ),
)

ITEM_SHAPES = (
    Case(
        name="object", path=ITEMS, body={"items": {}}, error=wrong("items", "an array", "an object")
    ),
    Case(
        name="number",
        path=ITEMS,
        body={"items": [1]},
        error=wrong("items[0]", "an object", "an integer"),
    ),
    Case(
        name="unknown type",
        path=ITEMS,
        body={"items": [{"type": "hologram", "id": "h_1"}]},
        error=Error(param="items[0].type", code="invalid_value"),
    ),
    Case(
        name="type a number",
        path=ITEMS,
        body={"items": [{"type": 3}]},
        error=wrong("items[0].type", "a string", "an integer"),
    ),
    Case(
        name="unknown role",
        path=ITEMS,
        body={"items": [message("x", "robot")]},
        error=Error(
            message="Invalid value: 'robot'. Supported values are: 'assistant', 'system', "
            "'developer', and 'user'.",
            param="items[0].role",
            code="invalid_value",
        ),
    ),
    Case(
        name="without content",
        path=ITEMS,
        body={"items": [{"role": "user"}]},
        error=lacking("items[0].content"),
    ),
    Case(
        name="content a number",
        path=ITEMS,
        body={"items": [{"role": "user", "content": 1}]},
        error=Error(param="items[0].content", code="invalid_type"),
    ),
    Case(
        name="part unknown",
        path=ITEMS,
        body={"items": [{"role": "user", "content": [{"type": "smell"}]}]},
        error=Error(param="items[0].content[0].type", code="invalid_value"),
    ),
    Case(
        name="call without name",
        path=ITEMS,
        body={"items": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]},
        error=lacking("items[0].name"),
    ),
    Case(
        name="arguments an object",
        path=ITEMS,
        body={"items": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": {}}]},
        error=wrong("items[0].arguments", "a string", "an object"),
    ),
    Case(
        name="foreign compaction",
        path=ITEMS,
        body={"items": [{"type": "compaction", "encrypted_content": "gAAAAABforeign"}]},
        error=Error(code="invalid_encrypted_content"),
    ),
    Case(
        name="the same id twice",
        path=ITEMS,
        body={"items": [{**message("x"), "id": "msg_twice"}, {**message("y"), "id": "msg_twice"}]},
        error=Error(
            message="Duplicate item found with id msg_twice. Remove duplicate items from "
            "your input and try again.",
            param="*",
        ),
    ),
    Case(
        name="an id that is there",
        path=ITEMS,
        body={"items": [{**message("x"), "id": "msg_known"}]},
        error=Error(
            message="Duplicate item found with id msg_known. Remove duplicate items from "
            "your input and try again.",
            param="*",
        ),
    ),
    Case(
        name="an id that is there, in a turn",
        path=RESPONSES,
        queued=True,
        body=turn(conversation="{conversation}", input=[{**message("x"), "id": "msg_known"}]),
        error=Error(
            message="Duplicate item found with id msg_known. Remove duplicate items from "
            "your input and try again.",
            param="input",
        ),
    ),
    Case(
        name="unstored output without call",
        path=RESPONSES,
        body=turn(input=[output_of("call_x", "x")], store=False),
        error=Error(
            message="No tool call found for function call output with call_id call_x.",
            param="input",
        ),
    ),
)

PARAMETERS = (
    Case(
        name="model a number",
        path=RESPONSES,
        body={"model": 4, "input": "x"},
        error=wrong("model", "a string", "an integer"),
    ),
    Case(
        name="input a number",
        path=RESPONSES,
        body=turn(input=5),
        error=Error(param="input", code="invalid_type"),
    ),
    Case(
        name="input an object",
        path=RESPONSES,
        body=turn(input={}),
        error=Error(param="input", code="invalid_type"),
    ),
    Case(
        name="stream a number",
        path=RESPONSES,
        body=turn(stream=1),
        error=wrong("stream", "a boolean", "an integer"),
    ),
    Case(
        name="temperature",
        path=RESPONSES,
        body=turn(temperature=2.5),
        error=Error(param="temperature", code="decimal_above_max_value"),
    ),
    Case(name="temperature of 400 digits", path=RESPONSES, body=turn(temperature=10**400)),
    Case(
        name="top_p",
        path=RESPONSES,
        body=turn(top_p=-1),
        error=Error(param="top_p", code="decimal_below_min_value"),
    ),
    Case(
        name="half tokens",
        path=RESPONSES,
        body=turn(max_output_tokens=16.5),
        error=wrong("max_output_tokens", "an integer", "a decimal"),
    ),
    Case(
        name="tool a number",
        path=RESPONSES,
        body=turn(tools=[1]),
        error=wrong("tools[0]", "an object", "an integer"),
    ),
    Case(
        name="include a word",
        path=RESPONSES,
        body=turn(include="x"),
        error=Error(param="include", code="invalid_type"),
    ),
    Case(
        name="instructions",
        path=RESPONSES,
        body=turn(instructions=1),
        error=wrong("instructions", "a string", "an integer"),
    ),
    Case(
        name="conversation a number",
        path=RESPONSES,
        body=turn(conversation=1),
        error=wrong("conversation", "a string", "an integer"),
    ),
    Case(
        name="conversation without id",
        path=RESPONSES,
        body=turn(conversation={}),
        error=lacking("conversation.id"),
    ),
    Case(
        name="unknown overlap",
        path=RESPONSES,
        body=turn(conversation="{conversation}"),
        headers={"Turnlog-Overlap": "maybe"},
        error=Error(param="Turnlog-Overlap", code="invalid_value"),
    ),
)

KEYS = tuple(
    Case(
        name=f"{name}, {path} {len(body)}",
        path=path,
        body=body,
        headers={"Idempotency-Key": key},
        error=Error(
            message="Invalid 'Idempotency-Key': expected 1 to 255 visible ASCII characters.",
            param="Idempotency-Key",
            code="invalid_value",
        ),
    )
    for path, body in (
        (RESPONSES, turn()),
        (RESPONSES, turn(store=False)),
        (CONVERSATIONS, {}),
        (ITEMS, {"items": [message("x")]}),
    )
    for name, key in (("empty", ""), ("space", "a b"), ("long", "k" * 256), ("not ASCII", "é"))
)

CASES = {
    f"{group}: {case.name}": case
    for group, cases in (
        ("unknown", UNKNOWN_IDS), ("prefix", PREFIXES), ("page", PAGES), ("metadata", METADATA),
        ("body", BODIES), ("item", ITEM_SHAPES), ("parameter", PARAMETERS), ("key", KEYS),
    )
    for case in cases
}  # fmt: skip


@pytest.fixture(scope="module")
def conversation(shared: Running) -> str:
    with shared.client() as client:
        return client.conversations.create(items=[{**message("there"), "id": "msg_known"}]).id


@pytest.mark.parametrize("name", CASES)
def test_refused_and_nothing_stored(shared: Running, conversation: str, name: str):
    case = CASES[name]
    before = shared.settled()

    with shared.http() as http:
        answer = asked(http, case, {"conversation": conversation})
    after = shared.last_sequences()

    assert 400 <= answer.status_code < 500, answer.text
    check(answer, case.error, {})
    assert after[subjects.CONVERSATIONS] == before[subjects.CONVERSATIONS]
    if not case.queued:
        assert after[subjects.TURN_REQUESTS] == before[subjects.TURN_REQUESTS]
        assert after[subjects.DELTAS] == before[subjects.DELTAS]


def test_a_body_that_does_not_say_its_length_is_bounded_too(shared: Running):
    before = shared.settled()

    def parts():
        for _ in range(8):
            yield b" " * (1024 * 1024)

    with shared.http() as http:
        answer = http.post(CONVERSATIONS, content=parts())

    assert answer.status_code == 413
    check(answer, None, {})
    assert shared.last_sequences() == before


def test_an_unknown_model_is_the_models_own_400_and_the_turn_is_kept_as_failed(shared: Running):
    with shared.http() as http, shared.client() as client:
        conversation = client.conversations.create()
        body = {"model": "nope", "input": "x", "conversation": conversation.id}
        answer = http.post(RESPONSES, json=body)
        streamed = http.post(RESPONSES, json={**body, "stream": True})

        for each in (answer, streamed):
            assert each.status_code == 400
            assert each.json()["error"] == {
                "message": "The requested model 'nope' does not exist.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        assert client.conversations.items.list(conversation.id).data == []
        later = client.responses.create(model=MODEL, input="x", conversation=conversation.id)

    assert later.status == "completed"
    assert shared.events(conversation.id)[1:5] == ["turn_requested", "turn_failed"] * 2


def test_refused_requests_do_not_stay_on_the_queue(shared: Running):
    assert shared.turns_waiting() == 0


def test_a_client_that_leaves_within_its_body_is_no_fault_of_ours(shared: Running):
    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as leaving:
        head = f"POST /v1/conversations HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9"
        leaving.sendall(f"{head}\r\n\r\n{{".encode())
    assert shared.up is not None
    lines = shared.up.lines
    until(lambda: lines("request.answered", path="/v1/conversations", status=499))
    assert lines("request.crashed") == []
