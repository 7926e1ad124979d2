"""The contract's error tables, row by row, against a running server (contract 1.1 to 1.4).

What else may be sent that is wrong is in `test_bad_input`.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from openai import OpenAI

from schemas import subjects
from schemas.http import checks
from tests.whole.refused import (
    CONVERSATIONS,
    ITEMS,
    RESPONSES,
    SAMPLES,
    Case,
    Error,
    absent,
    asked,
    check,
    lacking,
    prefixed,
    sampled,
    turn,
    unknown,
    unsupported,
    wrong,
)
from tests.whole.running import MODEL, Running, another_gateway, message, output_of, until

ABSENT_CONVERSATION = f"conv_{'0' * 48}"
ABSENT_RESPONSE = f"resp_{'0' * 50}"
CALL = "call_Qx9vT2bLr0pWm4cYk7Zs1aHd"
CONVERSATION = "/v1/conversations/{conversation}"
INCLUDABLE = checks.listed(checks.INCLUDABLE, "and")


def call(call_id: str, item_id: str | None = None) -> dict[str, Any]:
    made = {"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}"}
    return {**made, "id": item_id} if item_id else made


def of_turn(name: str, error: Error, /, *, strict: bool = False, **fields: Any) -> Case:
    """A turn that is refused at the door."""
    return Case(name=name, path=RESPONSES, body=turn(**fields), error=error, strict=strict)


def of_rules(name: str, error: Error, /, **fields: Any) -> Case:
    """A turn that is refused by the rules."""
    return Case(name=name, path=RESPONSES, body=turn(**fields), error=error, queued=True)


def words(message: str) -> Error:
    """A 400 that says no more than this."""
    return Error(message=message)


# 1.1: the eight operations on conversations

VALIDATION = (
    Case(
        name="limit above",
        method="GET",
        path=ITEMS,
        query={"limit": "1000"},
        error=sampled("limit_too_big"),
    ),
    Case(
        name="limit below",
        method="GET",
        path=ITEMS,
        query={"limit": "0"},
        error=sampled("limit_too_small"),
    ),
    Case(
        name="limit a word",
        method="GET",
        path=ITEMS,
        query={"limit": "all"},
        error=wrong("limit", "an integer", "a string"),
    ),
    Case(
        name="21 items",
        path=ITEMS,
        body={"items": [message("x")] * 21},
        error=sampled("too_many_items"),
    ),
    Case(
        name="21 items at create",
        path=CONVERSATIONS,
        body={"items": [message("x")] * 21},
        error=sampled("too_many_items"),
    ),
    Case(
        name="order",
        method="GET",
        path=ITEMS,
        query={"order": "up"},
        error=unsupported("order", "up", "'asc' and 'desc'"),
    ),
    Case(
        name="broken JSON",
        path=CONVERSATIONS,
        body=b'{"metadata": {"a": "b",}}',
        error=sampled("invalid_json"),
    ),
    Case(
        name="17 keys of metadata",
        path=CONVERSATIONS,
        body={"metadata": {f"k{n}": "v" for n in range(17)}},
        error=sampled("metadata_too_many"),
    ),
    Case(
        name="long value of metadata",
        path=CONVERSATIONS,
        body={"metadata": {"k": "v" * 600}},
        error=sampled("metadata_value_too_long"),
    ),
    Case(
        name="long key of metadata",
        path=CONVERSATIONS,
        body={"metadata": {"k" * 70: "v"}},
        error=Error(
            message=f"Invalid property name in 'metadata': '{'k' * 64}...' is too long. Expected "
            "a string with maximum length 64, but got a string with length 70 instead.",
            param="metadata." + "k" * 70,
            code="property_name_above_max_length",
        ),
    ),
    Case(
        name="metadata that is no string",
        path=CONVERSATIONS,
        body={"metadata": {"k": 1}},
        error=sampled("metadata_value_type"),
    ),
    Case(
        name="metadata that is no map",
        path=CONVERSATIONS,
        body={"metadata": "x"},
        error=wrong("metadata", "a metadata object", "a string"),
    ),
    Case(
        name="conversation of another kind",
        method="GET",
        path="/v1/conversations/xyz",
        error=prefixed("conversation_id", "xyz", "conv"),
    ),
    Case(
        name="response of another kind",
        method="GET",
        path=f"{RESPONSES}/msg_1",
        error=prefixed("response_id", "msg_1", "resp"),
    ),
    Case(name="update without metadata", path=CONVERSATION, body={}, error=lacking("metadata")),
    Case(name="no items", path=ITEMS, body={}, error=lacking("items")),
    Case(
        name="items null",
        path=ITEMS,
        body={"items": None},
        error=wrong("items", "an array", "null"),
    ),
    Case(
        name="included in a listing",
        method="GET",
        path=ITEMS,
        query={"include[]": "everything"},
        error=unsupported("include[0]", "everything", INCLUDABLE),
    ),
    Case(
        name="included with an item",
        method="GET",
        path=ITEMS + "/msg_known",
        query={"include": "everything"},
        error=unsupported("include[0]", "everything", INCLUDABLE),
    ),
    Case(
        name="included with items that are added",
        path=ITEMS,
        query={"include[]": "everything"},
        body={"items": [message("x")]},
        error=unsupported("include[0]", "everything", INCLUDABLE),
    ),
    Case(
        name="included with a response",
        method="GET",
        path=f"{RESPONSES}/{{plain}}",
        query={"include[]": "everything"},
        error=unsupported("include[0]", "everything", INCLUDABLE),
    ),
    Case(
        name="included with the input of a response",
        method="GET",
        path=f"{RESPONSES}/{{plain}}/input_items",
        query={"include[]": "everything"},
        error=unsupported("include[0]", "everything", INCLUDABLE),
    ),
    Case(
        name="limit of the input of a response",
        method="GET",
        path=f"{RESPONSES}/{{plain}}/input_items",
        query={"limit": "1000"},
        error=sampled("limit_too_big"),
    ),
)

ABSENT = (
    *(
        Case(
            name=name,
            method=method,
            path=f"/v1/conversations/{ABSENT_CONVERSATION}{behind}",
            body=body,
            error=sampled("conversation_not_found"),
        )
        for name, method, behind, body in (
            ("get conversation", "GET", "", None),
            ("update conversation", "POST", "", {"metadata": {}}),
            ("delete conversation", "DELETE", "", None),
            ("list items", "GET", "/items", None),
            ("add items", "POST", "/items", {"items": [message("x")]}),
            ("get item of nowhere", "GET", "/items/msg_x", None),
            ("delete item of nowhere", "DELETE", "/items/msg_x", None),
        )
    ),
    *(
        Case(
            name=name,
            method=method,
            path=ITEMS + behind,
            query=query,
            error=sampled("conversation_item_not_found"),
        )
        for name, method, behind, query in (
            ("get item", "GET", "/msg_x", {}),
            ("delete item", "DELETE", "/msg_x", {}),
            ("list after", "GET", "", {"after": "msg_x"}),
        )
    ),
    *(
        Case(
            name=name,
            method=method,
            path=f"{RESPONSES}/{ABSENT_RESPONSE}{behind}",
            error=sampled("response_not_found"),
        )
        for name, method, behind in (
            ("get response", "GET", ""),
            ("delete response", "DELETE", ""),
            ("cancel response", "POST", "/cancel"),
            ("list input", "GET", "/input_items"),
        )
    ),
    Case(
        name="replay response",
        method="GET",
        path=f"{RESPONSES}/{ABSENT_RESPONSE}",
        query={"stream": "true"},
        error=sampled("response_not_found"),
    ),
    Case(
        name="get response that is not kept",
        method="GET",
        path=f"{RESPONSES}/{{unstored}}",
        error=absent("Response", "{unstored}"),
    ),
    Case(
        name="get deleted response",
        method="GET",
        path=f"{RESPONSES}/{{deleted}}",
        error=absent("Response", "{deleted}"),
    ),
    Case(
        name="get deleted conversation",
        method="GET",
        path="/v1/conversations/{forgotten}",
        error=absent("Conversation", "{forgotten}"),
    ),
)


def not_allowed(method: str, path: str) -> Error:
    text = (
        f"Not allowed to {method} on {path}. "
        "(HINT: Perhaps you meant to use a different HTTP method?)"
    )
    return Error(status=405, message=text)


ROUTES = (
    *(
        Case(
            name=f"{method} {path}",
            method=method,
            path=path,
            error=Error(status=404, message=f"Invalid URL ({method} {path})"),
        )
        for method, path in (
            ("POST", "/v1/x"),
            ("GET", "/"),
            ("GET", "/v1/responses/resp_1/x"),
            ("GET", "/v1/conversations/conv_1/items/msg_1/x"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/responses/"),
            ("GET", "/v1/conversations/conv_1/items/"),
            ("DELETE", "/v1/conversations/conv_1/"),
        )
    ),
    *(
        Case(name=f"{method} {path}", method=method, path=path, error=not_allowed(method, path))
        for method, path in (
            ("GET", "/v1/conversations"),
            ("PUT", "/v1/conversations"),
            ("PATCH", "/v1/conversations/conv_1"),
            ("DELETE", "/v1/responses"),
            ("PUT", "/v1/responses/resp_1"),
            ("GET", "/v1/responses/resp_1/cancel"),
            ("POST", "/v1/models"),
        )
    ),
    Case(
        name="compact is no response",
        method="DELETE",
        path=f"{RESPONSES}/compact",
        error=prefixed("response_id", "compact", "resp"),
    ),
)

# 1.3: the body of a turn

GRAMMAR = (
    of_turn("a boolean", sampled("wrong_type"), store="yes"),
    of_turn("an integer", wrong("max_tool_calls", "an integer", "a decimal"), max_tool_calls=1.5),
    of_turn("a decimal", wrong("temperature", "a decimal", "a string"), temperature="hot"),
    of_turn("a string", wrong("instructions", "a string", "an array"), instructions=[]),
    of_turn("an object", wrong("reasoning", "an object", "a boolean"), reasoning=True),
    of_turn("an array", wrong("tools", "an array of tools", "an object"), tools={}),
    of_turn("one of two", sampled("bad_enum"), truncation="bogus"),
    of_turn(
        "one of many",
        unsupported(
            "reasoning.effort",
            "bogus",
            "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'",
        ),
        reasoning={"effort": "bogus"},
    ),
    of_turn("below", sampled("max_output_tokens_small"), max_output_tokens=1),
    of_turn(
        "above",
        Error(
            message="Invalid 'top_logprobs': integer above maximum value. Expected a value <= 20, "
            "but got 21 instead.",
            param="top_logprobs",
            code="integer_above_max_value",
        ),
        top_logprobs=21,
    ),
    of_turn("inside of an array", lacking("tools[0].name"), tools=[{"type": "function"}]),
    of_turn(
        "inside of an object",
        lacking("text.format.schema"),
        text={"format": {"type": "json_schema", "name": "n"}},
    ),
    of_turn(
        "a pattern",
        Error(
            message="Invalid 'tools[0].name': string does not match pattern. Expected a string "
            "that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            param="tools[0].name",
            code="invalid_value",
        ),
        tools=[{"type": "function", "name": "a.b", "parameters": {}}],
    ),
    of_turn("included", unsupported("include[0]", "all", INCLUDABLE), include=["all"]),
    of_turn(
        "no entry",
        Error(
            message="Invalid 'context_management': empty array. Expected an array with minimum "
            "length 1, but got an empty array instead.",
            param="context_management",
            code="empty_array",
        ),
        context_management=[],
    ),
    of_turn(
        "a low threshold",
        Error(
            message="Invalid 'context_management[0].compact_threshold': integer below minimum "
            "value. Expected a value >= 1000, but got 999 instead.",
            param="context_management[0].compact_threshold",
            code="integer_below_min_value",
        ),
        context_management=[{"type": "compaction", "compact_threshold": 999}],
    ),
    of_turn(
        "options of no stream",
        Error(
            message="The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        ),
        stream_options={"include_obfuscation": True},
    ),
    Case(
        name="the role of an item",
        path=RESPONSES,
        body=turn(input=[message("x", "robot")]),
        error=unsupported(
            "input[0].role", "robot", "'assistant', 'system', 'developer', and 'user'"
        ),
        queued=True,
    ),
    Case(name="no model", path=RESPONSES, body={"input": "x"}, error=sampled("missing_model")),
    of_turn("model null", wrong("model", "a string", "an object"), model=None),
    # Strictly
    of_turn("an unknown name", sampled("unknown_parameter"), zzz=1, strict=True),
    of_turn("a misspelt name", unknown("stor", "'store'"), stor=False, strict=True),
    of_turn("near two names", unknown("stre", "'store' or 'stream'"), stre=1, strict=True),
    of_turn("an unknown name inside", unknown("text.zzz"), text={"zzz": 1}, strict=True),
    of_turn(
        "messages",
        Error(
            message="Unsupported parameter: 'messages'. In the Responses API, this parameter has "
            "moved to 'input'. Try again with the new parameter. See the API documentation for "
            "more information: https://platform.openai.com/docs/api-reference/responses/create.",
            code="unsupported_parameter",
        ),
        messages=[],
        strict=True,
    ),
    Case(
        name="an unknown name of a conversation",
        path=CONVERSATIONS,
        body={"itms": []},
        error=unknown("itms", "'items'"),
        strict=True,
    ),
    Case(
        name="an unknown name of an update",
        path=CONVERSATION,
        body={"metadata": {}, "title": "x"},
        error=unknown("title"),
        strict=True,
    ),
    Case(
        name="an unknown name beside items",
        path=ITEMS,
        body={"items": [], "item": 1},
        error=unknown("item"),
        strict=True,
    ),
)

ORDER = (
    Case(
        name="JSON before the model",
        path=RESPONSES,
        body=b'{"input": "x", }',
        error=sampled("invalid_json"),
    ),
    Case(
        name="the model before the input",
        path=RESPONSES,
        body={"zzz": 1},
        error=sampled("missing_model"),
        strict=True,
    ),
    Case(
        name="the input before unknown names",
        path=RESPONSES,
        body={"model": MODEL, "zzz": 1},
        error=sampled("missing_input"),
        strict=True,
    ),
    of_turn(
        "unknown names before fields",
        sampled("unknown_parameter"),
        input=5,
        zzz=1,
        temperature=9,
        strict=True,
    ),
    of_turn(
        "the kind of the input before the conversation",
        wrong("input", "one of a string or array of input items", "an integer"),
        input=5,
        conversation="abc",
    ),
    of_turn(
        "items before the conversation",
        prefixed("input[0].id", "x", "msg"),
        input=[{**message("x"), "id": "x"}],
        conversation="abc",
    ),
    of_turn(
        "the conversation before what is included",
        sampled("conversation_bad_prefix_body"),
        conversation="abc",
        include=["all"],
    ),
    of_turn(
        "what is included before tools",
        unsupported("include[0]", "all", INCLUDABLE),
        include=["all"],
        tools={},
    ),
    of_turn(
        "fields before state",
        sampled("bad_enum"),
        truncation="bogus",
        conversation=ABSENT_CONVERSATION,
        previous_response_id=ABSENT_RESPONSE,
    ),
    of_turn(
        "two histories before either",
        sampled("mutually_exclusive"),
        conversation=ABSENT_CONVERSATION,
        previous_response_id=ABSENT_RESPONSE,
    ),
    of_rules(
        "state before the model's own",
        sampled("conversation_not_found"),
        conversation=ABSENT_CONVERSATION,
        model="nope",
    ),
)

# 1.4: state

STATE = (
    of_rules("busy", sampled("conversation_locked"), conversation="{busy}"),
    of_rules(
        "busy for a stream", sampled("conversation_locked"), conversation="{busy}", stream=True
    ),
    of_rules(
        "busy for the background",
        sampled("conversation_locked"),
        conversation="{busy}",
        background=True,
    ),
    of_rules(
        "previous response",
        sampled("previous_response_not_found"),
        previous_response_id=ABSENT_RESPONSE,
    ),
    *(
        of_rules(
            f"previous response {name}",
            Error(
                message=f"Previous response with id '{{{name}}}' {why}.",
                param="previous_response_id",
                code="previous_response_not_found",
            ),
            previous_response_id=f"{{{name}}}",
        )
        for name, why in (
            ("unstored", "not found"),
            ("deleted", "not found"),
            ("running", "is still in progress"),
        )
    ),
    of_rules("conversation", sampled("conversation_not_found"), conversation=ABSENT_CONVERSATION),
    of_rules(
        "conversation of a stream",
        sampled("conversation_not_found"),
        conversation=ABSENT_CONVERSATION,
        stream=True,
    ),
    of_rules(
        "conversation of the background",
        sampled("conversation_not_found"),
        conversation=ABSENT_CONVERSATION,
        background=True,
    ),
    of_turn(
        "conversation of another kind",
        sampled("conversation_bad_prefix_body"),
        conversation={"id": "abc"},
    ),
    Case(
        name="nothing to answer",
        path=RESPONSES,
        body={"model": MODEL},
        error=sampled("missing_input"),
    ),
    of_turn("an empty input", sampled("missing_input"), input=[]),
    of_turn("an empty text", sampled("missing_input"), input=""),
    of_turn("a prompt", absent("Prompt", "pmpt_x"), prompt={"id": "pmpt_x"}),
    Case(
        name="a prompt alone",
        path=RESPONSES,
        body={"prompt": {"id": "pmpt_x", "version": "2", "variables": {"city": "Oslo"}}},
        error=absent("Prompt", "pmpt_x"),
    ),
    of_turn("model", sampled("model_not_found"), model="nope", store=False),
    of_turn(
        "too long for the model",
        sampled("context_length_exceeded"),
        input="[[error 400 context_length_exceeded]]",
        store=False,
    ),
    of_rules(
        "item reference",
        sampled("item_reference_not_found"),
        input=[{"type": "item_reference", "id": "rs_x"}],
    ),
    of_rules(
        "item reference without a type", sampled("item_reference_not_found"), input=[{"id": "rs_x"}]
    ),
    of_rules(
        "item already there",
        sampled("duplicate_item"),
        conversation="{conversation}",
        input=[call(CALL, "fc_x"), output_of(CALL, "x")],
    ),
    of_rules("call without output", sampled("no_tool_output"), input=[message("x"), call(CALL)]),
    of_rules(
        "call without output in the conversation",
        Error(message="No tool output found for function call call_dangling.", param="input"),
        conversation="{dangling}",
    ),
    of_rules("output without call", sampled("no_tool_call"), input=[output_of(CALL, "x")]),
    of_rules(
        "reasoning alone",
        Error(
            message="Item 'rs_x' of type 'reasoning' was provided without its required following "
            "item.",
            param="input",
        ),
        input=[message("x"), {"type": "reasoning", "id": "rs_x", "summary": []}],
    ),
    of_rules(
        "foreign encrypted content",
        Error(code="invalid_encrypted_content"),
        input=[{"type": "compaction", "id": "cmp_x", "encrypted_content": "gAAAAABforeign"}],
    ),
    of_turn(
        "background that is not stored",
        Error(
            message="Unsupported parameter: 'background' needs the response to be stored.",
            param="background",
            code="unsupported_parameter",
        ),
        background=True,
        store=False,
    ),
)

OTHERS = (
    Case(
        name="cancel a plain response",
        path=f"{RESPONSES}/{{plain}}/cancel",
        error=sampled("cancel_sync"),
    ),
    *(
        Case(
            name=f"cancel a response that has {status}",
            path=f"{RESPONSES}/{{{status}}}/cancel",
            error=words(f"Cannot cancel {what} response."),
        )
        for status, what in (
            ("completed", "a completed"),
            ("failed", "a failed"),
            ("incomplete", "an incomplete"),
        )
    ),
    Case(
        name="replay a plain response",
        method="GET",
        path=f"{RESPONSES}/{{plain}}",
        query={"stream": "true"},
        error=sampled("stream_not_background"),
    ),
    Case(
        name="replay a response that was no stream",
        method="GET",
        path=f"{RESPONSES}/{{completed}}",
        query={"stream": "true"},
        error=Error(
            message="This response cannot be streamed because it was not created with stream=true.",
            param="stream",
        ),
    ),
    Case(
        name="replay after a word",
        method="GET",
        path=f"{RESPONSES}/{{plain}}",
        query={"stream": "true", "starting_after": "all"},
        error=wrong("starting_after", "an integer", "a string"),
    ),
    Case(
        name="replay perhaps",
        method="GET",
        path=f"{RESPONSES}/{{plain}}",
        query={"stream": "perhaps"},
        error=wrong("stream", "a boolean", "a string"),
    ),
    of_turn("too often", sampled("rate_limited"), input="[[error 429]]", store=False),
    Case(
        name="delete a running response",
        method="DELETE",
        path=f"{RESPONSES}/{{running}}",
        error=words("Cannot delete an in-flight response."),
    ),
)

ROWS = {
    f"{group}: {case.name}": case
    for group, cases in (
        ("1.1", VALIDATION), ("404", ABSENT), ("route", ROUTES), ("1.3", GRAMMAR),
        ("order", ORDER), ("1.4", STATE), ("other calls", OTHERS),
    )
    for case in cases
}  # fmt: skip

ELSEWHERE = {
    "invalid_api_key": "there are no API keys yet",
    "server_error": "only a fault of ours is told so: tests/gateway/test_answers.py",
}
"""Samples no request here brings about, and why."""


def ended(client: OpenAI, text: str) -> str:
    """Id of a response in the background that has ended."""
    begun = client.responses.create(model=MODEL, input=text, background=True)
    until(
        lambda: client.responses.retrieve(begun.id).status not in {"queued", "in_progress"},
    )
    return begun.id


@pytest.fixture(scope="module")
def ids(shared: Running) -> Iterator[dict[str, str]]:
    """What the rows name: conversations and responses in every state."""
    with shared.client() as client:

        def plain(**fields: Any) -> str:
            return client.responses.create(model=MODEL, input="x", **fields).id

        found = {
            "conversation": client.conversations.create(
                items=[
                    {**message("there"), "id": "msg_known"},
                    call("call_1", "fc_x"),
                    output_of("call_1", "x"),
                ]
            ).id,
            "dangling": client.conversations.create(items=[call("call_dangling")]).id,
            "forgotten": client.conversations.create().id,
            "busy": client.conversations.create().id,
            "plain": plain(),
            "deleted": plain(),
            "unstored": plain(store=False),
            "completed": ended(client, "x"),
            "failed": ended(client, "[[fail]]"),
            "incomplete": ended(client, "[[incomplete]]"),
        }
        client.responses.delete(found["deleted"])
        client.conversations.delete(found["forgotten"])
        found["running"] = client.responses.create(
            model=MODEL, input="[[hang]] busy", background=True, conversation=found["busy"]
        ).id
        until(lambda: client.responses.retrieve(found["running"]).status == "in_progress")
        yield found
        client.responses.cancel(found["running"])


@pytest.fixture(scope="module")
def strict(shared: Running) -> Iterator[str]:
    """URL of a gateway that refuses unknown parameters."""
    with another_gateway(shared, strict="true") as url:
        yield url


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_answered_as_it_says_and_nothing_is_stored(
    shared: Running, strict: str, ids: dict[str, str], name: str
):
    case = ROWS[name]
    before = shared.last_sequences()

    with shared.http(strict if case.strict else None) as http:
        answer = asked(http, case, ids)
    after = shared.last_sequences()

    check(answer, case.error, ids)
    assert after[subjects.CONVERSATIONS] == before[subjects.CONVERSATIONS]
    if not case.queued:
        assert after[subjects.TURN_REQUESTS] == before[subjects.TURN_REQUESTS]


def test_every_error_among_the_contracts_samples_is_brought_about():
    told = [case.error for case in ROWS.values()]
    missing = {name for name in SAMPLES if sampled(name) not in told}
    assert missing == ELSEWHERE.keys()


def test_a_wrong_method_is_answered_with_the_right_ones(shared: Running):
    with shared.http() as http:
        allowed = {
            path: http.request("PUT", path).headers["allow"]
            for path in ("/v1/responses", "/v1/responses/resp_1", "/v1/conversations/conv_1")
        }
    assert allowed == {
        "/v1/responses": "POST",
        "/v1/responses/resp_1": "DELETE, GET, HEAD",
        "/v1/conversations/conv_1": "DELETE, GET, HEAD, POST",
    }


@pytest.mark.parametrize("strictly", [False, True])
def test_what_the_sdk_sends_is_taken_by_either_door(shared: Running, strict: str, strictly):
    with shared.client(strict if strictly else None) as client, ExitStack() as stack:
        conversation = client.conversations.create(items=[], metadata={"a": "b"})
        stack.callback(client.conversations.delete, conversation.id)
        response = client.responses.create(
            model=MODEL,
            input="Hi",
            conversation=conversation.id,
            include=["reasoning.encrypted_content"],
            instructions=None,
            max_output_tokens=100,
            max_tool_calls=3,
            metadata={"c": "d"},
            parallel_tool_calls=True,
            prompt_cache_key="k",
            prompt_cache_options={"mode": "implicit"},
            prompt_cache_retention="24h",
            reasoning={"effort": "low", "summary": "auto"},
            safety_identifier="s",
            service_tier="auto",
            store=True,
            temperature=1,
            text={"verbosity": "low"},
            tool_choice="auto",
            tools=[],
            top_logprobs=0,
            top_p=1,
            truncation="auto",
            user="u",
        )
        listed = client.conversations.items.list(
            conversation.id, include=["message.output_text.logprobs"], limit=1
        )

    assert response.status == "completed"
    assert response.prompt_cache_options is not None
    assert response.prompt_cache_options.ttl == "30m"
    assert response.metadata == {"c": "d"}
    assert len(listed.data) == 1


def test_a_chain_goes_on_with_the_model_of_the_response_before(shared: Running):
    with shared.client() as client, shared.http() as http:
        first = client.responses.create(model="simulator-reasoning", input="Hi")
        bodies = [
            {"previous_response_id": first.id, "input": "and?"},
            {"previous_response_id": first.id, "input": "and?", "store": False},
        ]
        answers = [http.post(RESPONSES, json=body) for body in bodies]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["model"] for answer in answers] == [first.model] * 2
    assert json.loads(bytes(shared.received()[-1].body))["model"] == first.model
