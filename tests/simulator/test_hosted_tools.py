"""Hosted tools through the real client: their items, their events, and who acts next."""

import pytest

from services.simulator.directives import HOSTED
from services.simulator.hosted_items import _MAKERS, PIXEL
from services.simulator.hosted_tools import KINDS
from tests.simulator.streamed import events_of, output_of

MCP = {"type": "mcp", "server_label": "deep", "server_url": "https://mcp.test"}
SCREEN = {
    "type": "computer_use_preview",
    "display_height": 600,
    "display_width": 800,
    "environment": "browser",
}


def types(output):
    return [item["type"] for item in output]


def of_item(events, kind):
    """The events of the first item of a type, without the name of their family."""
    index = next(
        e["output_index"]
        for e in events
        if e["type"] == "response.output_item.added" and e["item"]["type"] == kind
    )
    return [e["type"].removeprefix("response.") for e in events if e.get("output_index") == index]


def collapsed(names):
    """Names with their repetitions taken out."""
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


def test_everything_that_can_be_hosted_is_made():
    assert (
        {*HOSTED}
        == {*_MAKERS}
        == {*KINDS.values()}
        | {
            "mcp_list_tools",
            "mcp_approval_request",
            "compaction",
            "future",
        }
    )


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("web_search", ["web_search_call", "message"]),
        ("file_search", ["file_search_call", "message"]),
        ("code_interpreter", ["code_interpreter_call", "message"]),
        ("image_generation", ["image_generation_call", "message"]),
        ("mcp", ["mcp_list_tools", "mcp_call", "message"]),
        ("mcp_list_tools", ["mcp_list_tools", "message"]),
        ("mcp_approval_request", ["mcp_approval_request"]),
        ("computer", ["computer_call"]),
        ("shell", ["shell_call", "shell_call_output", "message"]),
        ("local_shell", ["local_shell_call"]),
        ("apply_patch", ["apply_patch_call"]),
        ("tool_search", ["tool_search_call", "tool_search_output", "message"]),
        ("programmatic_tool_calling", ["program", "program_output", "message"]),
        ("compaction", ["compaction", "message"]),
    ],
)
async def test_an_ordered_tool_is_used(client, order, expected):
    assert types(await output_of(client, input=f"Look [[hosted {order}]] there")) == expected


@pytest.mark.parametrize(
    ("order", "status", "ends"),
    [
        ("web_search", "failed", "web_search_call.searching"),
        ("file_search", "failed", "file_search_call.searching"),
        ("code_interpreter", "failed", "code_interpreter_call.interpreting"),
        ("image_generation", "failed", "image_generation_call.partial_image"),
        ("mcp", "failed", "mcp_call.failed"),
        ("mcp_list_tools", None, "mcp_list_tools.failed"),
        ("shell", "completed", "shell_call_command.done"),
    ],
)
async def test_a_tool_fails_when_ordered(client, order, status, ends):
    said = f"Look [[hosted {order} failed]]"
    output = await output_of(client, input=said)
    kind = order if order == "mcp_list_tools" else f"{order}_call"
    item = next(item for item in output if item["type"] == kind)
    assert item.get("status") == status
    assert of_item(await events_of(client, input=said), kind)[-2:] == [ends, "output_item.done"]


async def test_what_is_not_called_for_is_not_used(client):
    output = await output_of(client, input="Hi", tools=[{"type": "web_search"}])
    assert types(output) == ["message"]


@pytest.mark.parametrize(
    ("tool", "said", "used"),
    [
        ({"type": "web_search_preview"}, "Try web_search now", "web_search_call"),
        ({"type": "web_search_preview"}, "Try web_search_preview now", "web_search_call"),
        ({**MCP, "require_approval": "never"}, "Ask deep", "mcp_list_tools"),
        ({"type": "image_generation"}, "image_generation", "image_generation_call"),
        (SCREEN, "computer", "computer_call"),
    ],
)
async def test_an_offered_tool_is_used_when_named(client, tool, said, used):
    assert types(await output_of(client, input=said, tools=[tool]))[0] == used


@pytest.mark.parametrize(
    ("choice", "used"),
    [
        ("required", "web_search_call"),
        ({"type": "file_search"}, "file_search_call"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "file_search"}]}, "message"),
    ],
)
async def test_a_choice_makes_it_used(client, choice, used):
    tools = [{"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["vs_1"]}]
    output = await output_of(client, input="Try web", tools=tools, tool_choice=choice)
    assert types(output)[0] == used


async def test_hosted_tools_and_functions_go_together(client):
    function = {"type": "function", "name": "get", "parameters": {}, "strict": False}
    output = await output_of(
        client, input="web_search then get", tools=[{"type": "web_search"}, function]
    )
    assert types(output) == ["web_search_call", "function_call"]


@pytest.mark.parametrize(
    ("order", "kind", "expected"),
    [
        (
            "web_search",
            "web_search_call",
            [f"web_search_call.{state}" for state in ("in_progress", "searching", "completed")],
        ),
        (
            "code_interpreter",
            "code_interpreter_call",
            [
                "code_interpreter_call.in_progress",
                "code_interpreter_call_code.delta",
                "code_interpreter_call_code.done",
                "code_interpreter_call.interpreting",
                "code_interpreter_call.completed",
            ],
        ),
        (
            "image_generation",
            "image_generation_call",
            [
                "image_generation_call.in_progress",
                "image_generation_call.generating",
                "image_generation_call.partial_image",
                "image_generation_call.completed",
            ],
        ),
        (
            "mcp",
            "mcp_call",
            [
                "mcp_call.in_progress",
                "mcp_call_arguments.delta",
                "mcp_call_arguments.done",
                "mcp_call.completed",
            ],
        ),
        (
            "shell",
            "shell_call",
            ["shell_call_command.added", "shell_call_command.delta", "shell_call_command.done"] * 2,
        ),
        (
            "shell",
            "shell_call_output",
            ["shell_call_output_content.delta", "shell_call_output_content.done"] * 2,
        ),
        ("compaction", "compaction", ["compaction.compacting"]),
        ("computer", "computer_call", []),
    ],
)
async def test_a_use_has_the_events_of_its_type(client, order, kind, expected):
    events = await events_of(client, input=f"Look [[hosted {order}]]")
    expected = ["output_item.added", *expected, "output_item.done"]
    assert collapsed(of_item(events, kind)) == expected


async def test_deltas_add_up_to_what_they_are_of(client):
    events = await events_of(client, input="[[hosted mcp]] [[hosted code_interpreter]] Look there")
    output = events[-1]["response"]["output"]
    call, ran = (i for i in output if i["type"] in ("mcp_call", "code_interpreter_call"))
    for name, whole in (
        ("mcp_call_arguments", call["arguments"]),
        ("code_interpreter_call_code", ran["code"]),
    ):
        deltas = [e["delta"] for e in events if e["type"] == f"response.{name}.delta"]
        assert "".join(deltas) == whole
        assert len(deltas) > 1


async def test_details_are_only_told_to_who_asks(client):
    said = "Look [[hosted web_search]] [[hosted file_search]] [[hosted code_interpreter]]"
    searched, found, ran, _ = await output_of(client, input=said)
    assert "sources" not in searched["action"]
    assert (found["results"], ran["outputs"]) == (None, None)
    include = [
        "web_search_call.action.sources",
        "file_search_call.results",
        "code_interpreter_call.outputs",
    ]
    searched, found, ran, _ = await output_of(client, input=said, include=include)
    assert searched["action"]["sources"]
    assert found["results"][0]["filename"]
    assert ran["outputs"] == [{"type": "logs", "logs": "4\n"}]


async def test_what_was_found_is_cited(client):
    said = "[[hosted web_search]] [[hosted file_search]] [[hosted code_interpreter]] [[say Found.]]"
    events = await events_of(client, input=said)
    part = events[-1]["response"]["output"][-1]["content"][0]
    added = [e for e in events if e["type"] == "response.output_text.annotation.added"]
    assert [e["annotation"] for e in added] == part["annotations"]
    assert [e["annotation_index"] for e in added] == [0, 1, 2]
    assert [one["type"] for one in part["annotations"]] == [
        "url_citation",
        "file_citation",
        "container_file_citation",
    ]
    assert (part["text"], part["annotations"][0]["end_index"]) == ("Found.", 6)


async def test_an_image_comes_in_as_many_parts_as_asked_for(client):
    tool = {"type": "image_generation", "partial_images": 3, "size": "64x64", "quality": "low"}
    events = await events_of(client, input="image_generation", tools=[tool])
    partial = [e for e in events if e["type"].endswith("partial_image")]
    assert [e["partial_image_index"] for e in partial] == [0, 1, 2]
    assert {(e["size"], e["quality"], e["partial_image_b64"]) for e in partial} == {
        ("64x64", "low", PIXEL)
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"type": "local"}, ["shell_call"]),
        ({"type": "container_auto"}, ["shell_call", "shell_call_output", "message"]),
    ],
)
async def test_a_local_shell_is_the_clients(client, environment, expected):
    tool = {"type": "shell", "environment": environment}
    assert types(await output_of(client, input="shell", tools=[tool])) == expected


async def test_a_client_may_search_for_tools_itself(client):
    search = {"type": "tool_search", "execution": "client"}
    (call,) = await output_of(client, input="tool_search", tools=[search])
    assert (call["execution"], call["call_id"][:5]) == ("client", "call_")


async def test_a_tool_search_finds_what_was_deferred(client):
    function = {
        "type": "function",
        "name": "get",
        "parameters": {},
        "strict": False,
        "defer_loading": True,
    }
    output = await output_of(client, input="tool_search", tools=[{"type": "tool_search"}, function])
    assert output[1]["tools"] == [function]


async def test_an_mcp_call_waits_for_its_approval(client):
    history = [{"role": "user", "content": "Ask deep about it"}]
    listed, request = await output_of(client, input=history, tools=[MCP])
    assert (listed["type"], request["type"]) == ("mcp_list_tools", "mcp_approval_request")
    response = {"type": "mcp_approval_response", "approval_request_id": request["id"]}
    asked = [*history, listed, request]
    call, message = await output_of(
        client, input=[*asked, {**response, "approve": True}], tools=[MCP]
    )
    assert (call["type"], message["type"]) == ("mcp_call", "message")
    assert call["approval_request_id"] == request["id"]
    assert (call["arguments"], call["name"]) == (request["arguments"], request["name"])
    refused = await output_of(client, input=[*asked, {**response, "approve": False}], tools=[MCP])
    assert types(refused) == ["message"]


@pytest.mark.parametrize(
    ("wanted", "last"),
    [
        ("always", "mcp_approval_request"),
        ("never", "message"),
        ({"never": {"tool_names": ["roll"]}}, "message"),
        ({"never": {"tool_names": ["other"]}}, "mcp_approval_request"),
    ],
)
async def test_approval_is_asked_for_as_the_tool_says(client, wanted, last):
    tool = {**MCP, "require_approval": wanted, "allowed_tools": ["roll"]}
    output = await output_of(client, input="deep", tools=[tool])
    assert types(output)[-1] == last
    assert output[0]["tools"][0]["name"] == output[1]["name"] == "roll"


async def test_tools_of_a_server_are_listed_once(client):
    tool = {**MCP, "require_approval": "never"}
    history = [{"role": "user", "content": "deep"}]
    history += await output_of(client, input=history, tools=[tool])
    history.append({"role": "user", "content": "deep again"})
    assert types(await output_of(client, input=history, tools=[tool])) == ["mcp_call", "message"]


@pytest.mark.parametrize("order", ["computer", "local_shell", "apply_patch"])
async def test_what_the_client_did_is_answered(client, order):
    history = [{"role": "user", "content": f"[[hosted {order}]]"}]
    (call,) = await output_of(client, input=history)
    outputs = {
        "computer": {"call_id": call["call_id"], "output": {"type": "computer_screenshot"}},
        "local_shell": {"id": call["call_id"], "output": "done"},
        "apply_patch": {"call_id": call["call_id"], "status": "completed"},
    }
    history += [call, {"type": f"{order}_call_output", **outputs[order]}]
    (message,) = await output_of(client, input=history)
    assert f"{order}_call says: " in message["content"][0]["text"]


async def test_an_item_of_a_type_to_come_is_only_known_by_its_type(client):
    async with client.responses.with_streaming_response.create(
        model="simulator", input="[[hosted future]]", stream=True
    ) as raw:
        text = await raw.text()
    assert text.count('"type":"future_call"') == 3


async def test_several_are_used_in_order(client):
    said = "[[hosted web_search]] [[hosted mcp]] [[hosted computer]]"
    assert types(await output_of(client, input=said)) == [
        "web_search_call",
        "mcp_list_tools",
        "mcp_call",
        "computer_call",
    ]
