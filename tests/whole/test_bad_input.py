import json
from typing import Any

import httpx2
import msgspec
import pytest

from schemas import subjects
from tests.whole.running import MODEL, Running, message, output_of

CONVERSATIONS = "/v1/conversations"
RESPONSES = "/v1/responses"
ITEMS = "/v1/conversations/{conversation}/items"
BAD_JSON = (
    "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. "
    "(Common errors include trailing commas, missing closing brackets, missing quotation marks, "
    "etc.)"
)
BODY_BYTES_MAX = 6 * 1024 * 1024
ABSENT_RESPONSE = f"resp_{'0' * 32}{'1' * 18}"


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's error; ``param`` or ``code`` "*" stands for any."""

    status: int = 400
    message: str | None = None
    param: str | None = None
    code: str | None = None
    type: str = "invalid_request_error"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A request that must be refused, and how; without ``error``: with any 4xx."""

    name: str
    method: str = "POST"
    path: str
    body: Any = None
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    error: Error | None = None
    queued: bool = False
    """Refused by the rules, which live behind the queue: the request passes through it."""


def wrong(param: str, wanted: str, given: str) -> Error:
    text = f"Invalid type for '{param}': expected {wanted}, but got {given} instead."
    return Error(message=text, param=param, code="invalid_type")


def lacking(param: str) -> Error:
    text = f"Missing required parameter: '{param}'."
    return Error(message=text, param=param, code="missing_required_parameter")


def prefixed(param: str, value: str, prefix: str) -> Error:
    text = f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefix}'."
    return Error(message=text, param=param, code="invalid_value")


def absent(what: str, name: str, where: str = "") -> Error:
    return Error(status=404, message=f"{what} with id '{name}' not found{where}.")


def turn(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": "never answered", **fields}


NO_CONVERSATION = absent("Conversation", "conv_absent")
NO_ITEM = absent("Item", "msg_absent", " in conversation")
NO_RESPONSE = absent("Response", ABSENT_RESPONSE)
BROKEN = Error(message=BAD_JSON, code="invalid_json")
TOO_MANY_ITEMS = Error(
    message="Invalid 'items': array too long. Expected an array with maximum length 20, "
    "but got an array with length 21 instead.",
    param="items",
    code="array_above_max_length",
)

UNKNOWN_IDS = (
    Case(
        name="get conversation",
        method="GET",
        path="/v1/conversations/conv_absent",
        error=NO_CONVERSATION,
    ),
    Case(
        name="update conversation",
        path="/v1/conversations/conv_absent",
        body={"metadata": {}},
        error=NO_CONVERSATION,
    ),
    Case(
        name="delete conversation",
        method="DELETE",
        path="/v1/conversations/conv_absent",
        error=NO_CONVERSATION,
    ),
    Case(
        name="list items",
        method="GET",
        path="/v1/conversations/conv_absent/items",
        error=NO_CONVERSATION,
    ),
    Case(
        name="add items",
        path="/v1/conversations/conv_absent/items",
        body={"items": [message("x")]},
        error=NO_CONVERSATION,
    ),
    Case(
        name="get item of nowhere",
        method="GET",
        path="/v1/conversations/conv_absent/items/msg_a",
        error=NO_CONVERSATION,
    ),
    Case(
        name="delete item of nowhere",
        method="DELETE",
        path="/v1/conversations/conv_absent/items/msg_a",
        error=NO_CONVERSATION,
    ),
    Case(name="get item", method="GET", path=ITEMS + "/msg_absent", error=NO_ITEM),
    Case(name="delete item", method="DELETE", path=ITEMS + "/msg_absent", error=NO_ITEM),
    Case(name="list after", method="GET", path=ITEMS, query={"after": "msg_absent"}, error=NO_ITEM),
    Case(
        name="get response", method="GET", path=f"{RESPONSES}/{ABSENT_RESPONSE}", error=NO_RESPONSE
    ),
    Case(
        name="delete response",
        method="DELETE",
        path=f"{RESPONSES}/{ABSENT_RESPONSE}",
        error=NO_RESPONSE,
    ),
    Case(
        name="get response of another make",
        method="GET",
        path=f"{RESPONSES}/resp_absent",
        error=absent("Response", "resp_absent"),
    ),
    Case(
        name="turn in conversation",
        path=RESPONSES,
        body=turn(conversation="conv_absent"),
        error=NO_CONVERSATION,
        queued=True,
    ),
    Case(
        name="streamed turn in conversation",
        path=RESPONSES,
        body=turn(conversation="conv_absent", stream=True),
        error=NO_CONVERSATION,
        queued=True,
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
        name="turn after response",
        path=RESPONSES,
        body=turn(previous_response_id=ABSENT_RESPONSE),
        error=Error(
            message=f"Previous response with id '{ABSENT_RESPONSE}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        ),
        queued=True,
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
    Case(
        name="item reference",
        path=RESPONSES,
        body=turn(input=[{"type": "item_reference", "id": "msg_absent"}]),
        queued=True,
        error=Error(
            status=404,
            param="input",
            message="Item with id 'msg_absent' not found. Items are not persisted when "
            "`store` is set to false. Try again with `store` set to true, or remove this "
            "item from your input.",
        ),
    ),
    Case(
        name="unknown URL",
        path="/v1/x",
        error=Error(status=404, message="Invalid URL (POST /v1/x)"),
    ),
    Case(
        name="root", method="GET", path="/", error=Error(status=404, message="Invalid URL (GET /)")
    ),
    Case(name="unknown part of an item", method="GET", path=ITEMS + "/msg_a/b"),
    Case(name="put", method="PUT", path=CONVERSATIONS, body={}),
    Case(name="patch", method="PATCH", path="/v1/conversations/{conversation}", body={}),
    Case(name="delete all responses", method="DELETE", path=RESPONSES),
    Case(name="list conversations", method="GET", path=CONVERSATIONS),
)

PREFIXES = (
    Case(
        name="conversation in path",
        method="GET",
        path="/v1/conversations/xyz",
        error=prefixed("conversation_id", "xyz", "conv"),
    ),
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
    Case(
        name="conversation of a turn",
        path=RESPONSES,
        body=turn(conversation="abc"),
        error=prefixed("conversation", "abc", "conv"),
    ),
    Case(
        name="conversation as object",
        path=RESPONSES,
        body=turn(conversation={"id": "abc"}),
        error=prefixed("conversation", "abc", "conv"),
    ),
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
    Case(
        name="limit above",
        method="GET",
        path=ITEMS,
        query={"limit": "1000"},
        error=Error(
            message="Invalid 'limit': integer above maximum value. Expected a value <= "
            "100, but got 1000 instead.",
            param="limit",
            code="integer_above_max_value",
        ),
    ),
    Case(
        name="limit below",
        method="GET",
        path=ITEMS,
        query={"limit": "0"},
        error=Error(
            message="Invalid 'limit': integer below minimum value. Expected a value >= 1, "
            "but got 0 instead.",
            param="limit",
            code="integer_below_min_value",
        ),
    ),
    Case(name="limit negative", method="GET", path=ITEMS, query={"limit": "-1"}),
    Case(
        name="limit a word",
        method="GET",
        path=ITEMS,
        query={"limit": "all"},
        error=wrong("limit", "an integer", "a string"),
    ),
    Case(name="limit huge", method="GET", path=ITEMS, query={"limit": "9" * 5_000}),
    Case(name="limit with underscore", method="GET", path=ITEMS, query={"limit": "1_0"}),
    Case(
        name="order",
        method="GET",
        path=ITEMS,
        query={"order": "up"},
        error=Error(
            message="Invalid value: 'up'. Supported values are: 'asc' and 'desc'.",
            param="order",
            code="invalid_value",
        ),
    ),
    Case(name="after an odd id", method="GET", path=ITEMS, query={"after": "\x00'; --"}),
)

METADATA = (
    Case(
        name="17 keys",
        path=CONVERSATIONS,
        body={"metadata": {f"k{n}": "v" for n in range(17)}},
        error=Error(
            message="Invalid 'metadata': too many properties. Expected an object with at "
            "most 16 properties, but got an object with 17 properties instead.",
            param="metadata",
            code="object_above_max_properties",
        ),
    ),
    Case(
        name="long value",
        path=CONVERSATIONS,
        body={"metadata": {"k": "v" * 600}},
        error=Error(
            message="Invalid 'metadata.k': string too long. Expected a string with "
            "maximum length 512, but got a string with length 600 instead.",
            param="metadata.k",
            code="string_above_max_length",
        ),
    ),
    Case(
        name="long key",
        path=CONVERSATIONS,
        body={"metadata": {"k" * 70: "v"}},
        error=Error(param="metadata." + "k" * 70, code="property_name_above_max_length"),
    ),
    Case(
        name="number",
        path=CONVERSATIONS,
        body={"metadata": {"k": 1}},
        error=wrong("metadata.k", "a string", "an integer"),
    ),
    Case(
        name="null value",
        path=CONVERSATIONS,
        body={"metadata": {"k": None}},
        error=wrong("metadata.k", "a string", "null"),
    ),
    Case(
        name="no map",
        path=CONVERSATIONS,
        body={"metadata": "x"},
        error=wrong("metadata", "a metadata object", "a string"),
    ),
    Case(
        name="update without",
        path="/v1/conversations/{conversation}",
        body={},
        error=lacking("metadata"),
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
    Case(name="broken create", path=CONVERSATIONS, body=b'{"metadata": {"a": "b",}}', error=BROKEN),
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
    Case(name="21 items", path=ITEMS, body={"items": [message("x")] * 21}, error=TOO_MANY_ITEMS),
    Case(
        name="21 items at create",
        path=CONVERSATIONS,
        body={"items": [message("x")] * 21},
        error=TOO_MANY_ITEMS,
    ),
    Case(name="none", path=ITEMS, body={}, error=lacking("items")),
    Case(name="null", path=ITEMS, body={"items": None}, error=wrong("items", "an array", "null")),
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
        name="foreign compaction in a turn",
        path=RESPONSES,
        queued=True,
        body=turn(input=[{"type": "compaction", "encrypted_content": "gAAAAABforeign"}]),
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
        name="output without call",
        path=RESPONSES,
        queued=True,
        body=turn(input=[output_of("call_x", "x")]),
        error=Error(
            message="No tool call found for function call output with call_id call_x.",
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
    Case(
        name="call without output",
        path=RESPONSES,
        queued=True,
        body=turn(
            input=[
                message("x"),
                {"type": "function_call", "call_id": "call_x", "name": "n", "arguments": "{}"},
            ]
        ),
        error=Error(message="No tool output found for function call call_x.", param="input"),
    ),
    Case(
        name="reasoning alone",
        path=RESPONSES,
        queued=True,
        body=turn(input=[message("x"), {"type": "reasoning", "id": "rs_x", "summary": []}]),
        error=Error(
            message="Item 'rs_x' of type 'reasoning' was provided without its required "
            "following item.",
            param="input",
        ),
    ),
)

PARAMETERS = (
    Case(name="no model", path=RESPONSES, body={"input": "x"}, error=lacking("model")),
    Case(
        name="model null",
        path=RESPONSES,
        body={"model": None, "input": "x"},
        error=lacking("model"),
    ),
    Case(
        name="model a number",
        path=RESPONSES,
        body={"model": 4, "input": "x"},
        error=wrong("model", "a string", "an integer"),
    ),
    Case(
        name="nothing to answer",
        path=RESPONSES,
        body={"model": MODEL},
        error=Error(
            message='One of "input" or "previous_response_id" or \'prompt\' or '
            "'conversation' must be provided.",
            code="missing_required_parameter",
        ),
    ),
    Case(
        name="two histories",
        path=RESPONSES,
        body=turn(conversation="{conversation}", previous_response_id=ABSENT_RESPONSE),
        error=Error(
            message="Mutually exclusive parameters: ''. Ensure you are only providing one "
            "of: 'pre..._id' or 'conversation'.",
            code="mutually_exclusive_parameters",
        ),
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
        name="store a word",
        path=RESPONSES,
        body=turn(store="yes"),
        error=wrong("store", "a boolean", "a string"),
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
    Case(
        name="temperature a word",
        path=RESPONSES,
        body=turn(temperature="hot"),
        error=wrong("temperature", "a decimal", "a string"),
    ),
    Case(name="temperature of 400 digits", path=RESPONSES, body=turn(temperature=10**400)),
    Case(
        name="top_p",
        path=RESPONSES,
        body=turn(top_p=-1),
        error=Error(param="top_p", code="decimal_below_min_value"),
    ),
    Case(
        name="few tokens",
        path=RESPONSES,
        body=turn(max_output_tokens=1),
        error=Error(
            message="Invalid 'max_output_tokens': integer below minimum value. Expected a "
            "value >= 16, but got 1 instead.",
            param="max_output_tokens",
            code="integer_below_min_value",
        ),
    ),
    Case(
        name="half tokens",
        path=RESPONSES,
        body=turn(max_output_tokens=16.5),
        error=wrong("max_output_tokens", "an integer", "a decimal"),
    ),
    Case(
        name="truncation",
        path=RESPONSES,
        body=turn(truncation="bogus"),
        error=Error(
            message="Invalid value: 'bogus'. Supported values are: 'auto' and 'disabled'.",
            param="truncation",
            code="invalid_value",
        ),
    ),
    Case(
        name="tools an object",
        path=RESPONSES,
        body=turn(tools={}),
        error=wrong("tools", "an array", "an object"),
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
        error=wrong("include", "an array", "a string"),
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
        name="background unstored",
        path=RESPONSES,
        body=turn(background=True, store=False),
        error=Error(param="background", code="unsupported_parameter"),
    ),
    Case(
        name="unknown overlap",
        path=RESPONSES,
        body=turn(conversation="{conversation}"),
        headers={"Turnlog-Overlap": "maybe"},
        error=Error(param="Turnlog-Overlap", code="invalid_value"),
    ),
    Case(
        name="stream of a plain response",
        method="GET",
        path=f"{RESPONSES}/{ABSENT_RESPONSE}",
        query={"stream": "true"},
        error=NO_RESPONSE,
    ),
)

CASES = {
    f"{group}: {case.name}": case
    for group, cases in (
        ("unknown", UNKNOWN_IDS), ("prefix", PREFIXES), ("page", PAGES), ("metadata", METADATA),
        ("body", BODIES), ("item", ITEM_SHAPES), ("parameter", PARAMETERS),
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
    before = shared.last_sequences()

    with shared.http() as http:
        answer = http.request(
            case.method,
            case.path.format(conversation=conversation),
            content=_bytes(case.body, conversation),
            params=case.query or None,
            headers=case.headers,
        )
    after = shared.last_sequences()

    assert 400 <= answer.status_code < 500, answer.text
    _check(answer, case.error)
    assert after[subjects.CONVERSATIONS] == before[subjects.CONVERSATIONS]
    if not case.queued:
        assert after[subjects.TURN_REQUESTS] == before[subjects.TURN_REQUESTS]
        assert after[subjects.DELTAS] == before[subjects.DELTAS]


def _bytes(body: Any, conversation: str) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body).replace("{conversation}", conversation).encode()


def _check(answer: httpx2.Response, expected: Error | None) -> None:
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["message"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    if expected is None:
        return
    assert answer.status_code == expected.status
    found = body["error"]
    if expected.message is not None:
        assert found["message"] == expected.message
    assert (expected.param == "*") or found["param"] == expected.param
    assert (expected.code == "*") or found["code"] == expected.code


def test_a_body_that_does_not_say_its_length_is_bounded_too(shared: Running):
    before = shared.last_sequences()

    def parts():
        for _ in range(8):
            yield b" " * (1024 * 1024)

    with shared.http() as http:
        answer = http.post(CONVERSATIONS, content=parts())

    assert answer.status_code == 413
    _check(answer, None)
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
