"""The output items of hosted tools, finished, as each kind of use leaves them.

What a use finds, runs or draws is made of what the user said, so it is the same for the same
request, ids apart.
"""

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from services import ids
from services.simulator.hosted_tools import Item, Use, mcp_names

SOURCE_URL = "https://simulator.test/found"
FILE_ID, FILE_NAME = "file-simulator", "found.txt"
CONTAINER_ID = "cntr_simulator"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4"
    "2mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel."""

_SAID_LENGTH_MAX = 80
_encode = msgspec.json.Encoder().encode


def items_of(use: Use, include: frozenset[str]) -> list[Item]:
    """The finished items of a use, in order; ``include`` is the request's."""
    return _MAKERS[use.kind](use, include)


def _item(prefix: str, kind: str, *, status: str | None = "completed", **fields: Any) -> Item:
    named: Item = {"id": ids.item_id(prefix), "type": kind}
    return {**named, **fields} if status is None else {**named, "status": status, **fields}


def _short(use: Use) -> str:
    return use.said[:_SAID_LENGTH_MAX]


def _status(use: Use) -> str:
    return "failed" if use.failed else "completed"


def _web_search(use: Use, include: frozenset[str]) -> list[Item]:
    action: Item = {"type": "search", "query": _short(use), "queries": [_short(use)]}
    if "web_search_call.action.sources" in include:
        action["sources"] = [{"type": "url", "url": SOURCE_URL}]
    return [_item("ws", "web_search_call", status=_status(use), action=action)]


def _file_search(use: Use, include: frozenset[str]) -> list[Item]:
    found = {
        "attributes": {},
        "file_id": FILE_ID,
        "filename": FILE_NAME,
        "score": 0.5,
        "text": f"What was found for: {_short(use)}",
    }
    results = [found] if "file_search_call.results" in include and not use.failed else None
    queries = [_short(use)]
    return [_item("fs", "file_search_call", status=_status(use), queries=queries, results=results)]


def _code_interpreter(use: Use, include: frozenset[str]) -> list[Item]:
    logs = "Traceback: it failed\n" if use.failed else f"{len(use.said)}\n"
    outputs = [{"type": "logs", "logs": logs}]
    container = use.tool.get("container")
    made = _item(
        "ci",
        "code_interpreter_call",
        status=_status(use),
        code=f"print(len({_short(use)!r}))",
        container_id=container if isinstance(container, str) else CONTAINER_ID,
        outputs=outputs if "code_interpreter_call.outputs" in include else None,
    )
    return [made]


def _image_generation(use: Use, _include: frozenset[str]) -> list[Item]:
    defaults = {"background": "opaque", "output_format": "png", "quality": "medium"}
    made = _item(
        "ig",
        "image_generation_call",
        status=_status(use),
        action="generate",
        **{name: use.tool.get(name) or value for name, value in defaults.items()},
        result=None if use.failed else PIXEL,
        size=use.tool.get("size") or "1024x1024",
        revised_prompt=_short(use),
    )
    if use.failed:
        made["error"] = {
            "type": "image_generation_error",
            "code": "moderation_blocked",
            "message": "Your request was rejected by the safety system.",
            "param": None,
        }
    return [made]


def _computer(use: Use, _include: frozenset[str]) -> list[Item]:
    click = {"type": "click", "button": "left", "x": 10, "y": 20}
    preview = use.tool.get("type") == "computer_use_preview"
    acted = {"action": click} if preview else {"actions": [click, {"type": "screenshot"}]}
    return [_item("cu", "computer_call", **acted, call_id=use.call_id, pending_safety_checks=[])]


def _shell(use: Use, _include: frozenset[str]) -> list[Item]:
    commands = ["ls", f"echo {_short(use)!r}"]
    environment = (
        {"type": "container_reference", "container_id": CONTAINER_ID}
        if use.remote
        else {"type": "local"}
    )
    action = {"commands": commands, "max_output_length": None, "timeout_ms": None}
    call = _item("sh", "shell_call", action=action, call_id=use.call_id, environment=environment)
    if not use.remote:
        return [call]
    outcome = {"type": "timeout"} if use.failed else {"type": "exit", "exit_code": 0}
    outputs = [
        {"outcome": outcome, "stderr": f"{index}\n", "stdout": f"{command}\n"}
        for index, command in enumerate(commands)
    ]
    output = _item(
        "sho", "shell_call_output", call_id=use.call_id, max_output_length=None, output=outputs
    )
    return [call, output]


def _local_shell(use: Use, _include: frozenset[str]) -> list[Item]:
    action: Item = {
        "type": "exec",
        "command": ["echo", _short(use)],
        "env": {},
        "timeout_ms": None,
        "user": None,
        "working_directory": None,
    }
    return [_item("lsh", "local_shell_call", action=action, call_id=use.call_id)]


def _apply_patch(use: Use, _include: frozenset[str]) -> list[Item]:
    operation = {"type": "create_file", "path": "said.txt", "diff": f"+{_short(use)}"}
    return [_item("apc", "apply_patch_call", call_id=use.call_id, operation=operation)]


def _tool_search(use: Use, _include: frozenset[str]) -> list[Item]:
    place: Item = {"call_id": None, "execution": "server"}
    if use.waits:
        place = {"call_id": use.call_id, "execution": "client"}
    call = _item("tsc", "tool_search_call", arguments={"query": _short(use)}, **place)
    if use.waits:
        return [call]
    return [call, _item("tso", "tool_search_output", **place, tools=list(use.deferred))]


def _programmatic(use: Use, _include: frozenset[str]) -> list[Item]:
    code = f"text({_encode(_short(use)).decode()})"
    return [
        _item(
            "prog",
            "program",
            status=None,
            call_id=use.call_id,
            code=code,
            fingerprint="fp_simulator",
        ),
        _item("prog", "program_output", call_id=use.call_id, result=_short(use)),
    ]


def _mcp(use: Use, include: frozenset[str]) -> list[Item]:
    listed = (
        []
        if use.listed or use.approved
        else _mcp_list_tools(msgspec.structs.replace(use, failed=False), include)
    )
    if use.waits:
        return [*listed, *_mcp_approval_request(use, include)]
    error = {
        "type": "mcp_tool_execution_error",
        "content": [{"type": "text", "text": "It failed."}],
    }
    call = _item(
        "mcp",
        "mcp_call",
        status=_status(use),
        approval_request_id=use.approved.get("id"),
        arguments=use.approved.get("arguments") or _mcp_arguments(use),
        error=error if use.failed else None,
        name=use.approved.get("name") or mcp_names(use.tool)[0],
        output=None if use.failed else f"It was told: {_short(use)}",
        server_label=use.approved.get("server_label") or _mcp_label(use),
    )
    return [*listed, call]


def _mcp_list_tools(use: Use, _include: frozenset[str]) -> list[Item]:
    tools = [
        {
            "name": name,
            "description": "Tells what it was told.",
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
            "annotations": None,
        }
        for name in mcp_names(use.tool)
    ]
    made = _item(
        "mcpl",
        "mcp_list_tools",
        status=None,
        server_label=_mcp_label(use),
        tools=[] if use.failed else tools,
        error="The MCP server could not be reached." if use.failed else None,
    )
    return [made]


def _mcp_approval_request(use: Use, _include: frozenset[str]) -> list[Item]:
    made = _item(
        "mcpr",
        "mcp_approval_request",
        status=None,
        arguments=_mcp_arguments(use),
        name=mcp_names(use.tool)[0],
        server_label=_mcp_label(use),
    )
    return [made]


def _mcp_label(use: Use) -> str:
    return str(use.tool.get("server_label") or "simulator")


def _mcp_arguments(use: Use) -> str:
    return _encode({"text": _short(use)}).decode()


def _compaction(use: Use, _include: frozenset[str]) -> list[Item]:
    content = base64.urlsafe_b64encode(_short(use).encode()).decode()
    return [_item("cmp", "compaction", status=None, encrypted_content=f"gAAAAA{content}")]


def _future(use: Use, _include: frozenset[str]) -> list[Item]:
    return [_item("fut", "future_call", detail={"said": _short(use)})]


_MAKERS: dict[str, Callable[[Use, frozenset[str]], list[Item]]] = {
    "web_search": _web_search,
    "file_search": _file_search,
    "code_interpreter": _code_interpreter,
    "image_generation": _image_generation,
    "mcp": _mcp,
    "mcp_list_tools": _mcp_list_tools,
    "mcp_approval_request": _mcp_approval_request,
    "computer": _computer,
    "shell": _shell,
    "local_shell": _local_shell,
    "apply_patch": _apply_patch,
    "tool_search": _tool_search,
    "programmatic_tool_calling": _programmatic,
    "compaction": _compaction,
    "future": _future,
}
