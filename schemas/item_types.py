"""Every type of item: the fields a client sends, and what is stored beside them (contract 2).

Requiredness is that of the API's own input types, but for what clients leave out and the server
can add: ids, the ``status`` of an assistant's message and ``pending_safety_checks``.
"""

from collections.abc import Mapping

import msgspec

from schemas import item_fields as f
from schemas.item_fields import Field, Group, Named, group

ROLES = ("assistant", "system", "developer", "user")
PHASES = ("commentary", "final_answer")

STATUSES = ("in_progress", "completed", "incomplete")
COMPLETED = "completed"
"""Status of an item whose client or model named none."""

REFERENCE = "item_reference"
TRIGGER = "compaction_trigger"


class ItemType(msgspec.Struct, frozen=True, kw_only=True):
    """How one type is sent and stored.

    ``prefix`` begins the ids we make, ``prefixes`` those we take: where there is none, any id is
    taken. ``status`` is checked by that field, where the type has one; a client must give it if
    ``status_sent``, and it is always stored if ``status_stored``. ``added`` is stored where it was
    left out, ``order`` is that of the keys that come first.
    """

    prefix: str
    prefixes: tuple[str, ...]
    group: Group
    status: Field | None
    status_sent: bool
    status_stored: bool
    added: Mapping[str, msgspec.Raw]
    order: tuple[str, ...]


_OF_ALL: Named = {"created_by": f.text}
_ID_TYPE_STATUS = ("id", "type", "status")


def _type(
    prefix: str,
    required: Named = f.NONE,
    optional: Named = f.NONE,
    *,
    prefixes: tuple[str, ...] | None = None,
    statuses: tuple[str, ...] = STATUSES,
    status_sent: bool = False,
    status_stored: bool = True,
    order: tuple[str, ...] = _ID_TYPE_STATUS,
    **added: bytes,
) -> ItemType:
    return ItemType(
        prefix=prefix,
        prefixes=(prefix,) if prefixes is None else prefixes,
        group=group(required, {**_OF_ALL, **optional}),
        status=f.one_of(*statuses) if statuses else None,
        status_sent=status_sent,
        status_stored=status_stored and bool(statuses),
        added={name: msgspec.Raw(value) for name, value in added.items()},
        order=order,
    )


_CALL: Named = {"caller": f.CALLER}
_NAMESPACE: Named = {"namespace": f.text_of(least=1, most=f.NAMESPACE_LENGTH_MAX)}
_TOOL_CALL: Named = {**_CALL, **_NAMESPACE, "async": f.boolean}
_SEARCH: Named = {"call_id": f.CALL_ID, "execution": f.one_of("server", "client")}
_SAFETY_CHECKS = f.array_of(f.record({"id": f.text}, {"code": f.text, "message": f.text}))
_TEXTS = f.array_of(f.text)

_POINT: Named = {"x": f.integer, "y": f.integer}
_COMPUTER_ACTION = f.tagged(
    {
        "click": group({"button": f.one_of("left", "right", "wheel", "back", "forward"), **_POINT}),
        "double_click": group(_POINT),
        "drag": group({"path": f.array_of(f.record(_POINT))}),
        "keypress": group({"keys": _TEXTS}),
        "move": group(_POINT),
        "screenshot": group(),
        "scroll": group({"scroll_x": f.integer, "scroll_y": f.integer, **_POINT}),
        "type": group({"text": f.text}),
        "wait": group(),
    }
)
_WEB_ACTION = f.tagged(
    {
        "search": group(
            optional={"query": f.text, "queries": _TEXTS, "sources": f.array_of(f.mapping)}
        ),
        "open_page": group(optional={"url": f.text}),
        "find_in_page": group({"pattern": f.text, "url": f.text}),
    }
)
_LOCAL_SHELL_ACTION = f.tagged(
    {
        "exec": group(
            {"command": _TEXTS, "env": f.texts_by_name},
            {"timeout_ms": f.integer, "user": f.text, "working_directory": f.text},
        )
    }
)
_SHELL_ACTION = f.record(
    {"commands": _TEXTS}, {"timeout_ms": f.integer, "max_output_length": f.integer}
)
_SHELL_ENVIRONMENT = f.tagged(
    {"local": group(), "container_reference": group({"container_id": f.text})}
)
_SHELL_OUTPUT = f.record(
    {
        "stdout": f.text_of(most=f.OUTPUT_LENGTH_MAX),
        "stderr": f.text_of(most=f.OUTPUT_LENGTH_MAX),
        "outcome": f.tagged({"exit": group({"exit_code": f.integer}), "timeout": group()}),
    }
)
_PATCH: Named = {"path": f.text, "diff": f.text}
_OPERATION = f.tagged(
    {
        "create_file": group(_PATCH),
        "update_file": group(_PATCH),
        "delete_file": group({"path": f.text}),
    }
)
_ERROR: Named = {"code": f.integer, "message": f.text}
_MCP_ERROR = f.tagged(
    {
        "mcp_protocol_error": group(_ERROR),
        "mcp_tool_execution_error": group({"content": f.anything}),
        "http_error": group(_ERROR),
    }
)
_MCP_TOOL = f.record({"name": f.text, "input_schema": f.anything}, {"description": f.text})
_MCP_CALL: Named = {"server_label": f.text, "name": f.text, "arguments": f.text}
_SUMMARY = f.array_of(f.tagged({"summary_text": group({"text": f.text})}))
_REASONING_TEXT = f.array_of(f.tagged({"reasoning_text": group({"text": f.text})}))
_CODE_OUTPUT = f.tagged({"logs": group({"logs": f.text}), "image": group({"url": f.text})})
_IMAGE: Named = dict.fromkeys(
    (
        "result",
        "action",
        "background",
        "output_format",
        "quality",
        "revised_prompt",
        "size",
    ),
    f.text,
)

TYPES: Mapping[str, ItemType] = {
    "message": _type(
        "msg",
        {"role": f.one_of(*ROLES), "content": f.text_or(f.parts_of(f.MESSAGE_PARTS))},
        {"phase": f.one_of(*PHASES)},
        order=(*_ID_TYPE_STATUS, "content", "phase", "role"),
    ),
    "file_search_call": _type(
        "fs",
        {"queries": _TEXTS},
        {"results": f.array_of(f.mapping)},
        statuses=("in_progress", "searching", "completed", "incomplete", "failed"),
        status_sent=True,
    ),
    "computer_call": _type(
        "cu",
        {"call_id": f.CALL_ID},
        {
            "pending_safety_checks": _SAFETY_CHECKS,
            "action": _COMPUTER_ACTION,
            "actions": f.array_of(_COMPUTER_ACTION),
        },
        status_sent=True,
        pending_safety_checks=b"[]",
    ),
    "computer_call_output": _type(
        "cuo",
        {"call_id": f.CALL_ID, "output": f.SCREENSHOT},
        {"acknowledged_safety_checks": _SAFETY_CHECKS},
        statuses=(*STATUSES, "failed"),
    ),
    "web_search_call": _type(
        "ws",
        {"action": _WEB_ACTION},
        statuses=("in_progress", "searching", "completed", "failed", "incomplete"),
        status_sent=True,
    ),
    "function_call": _type(
        "fc",
        {"call_id": f.CALL_ID, "name": f.NAME, "arguments": f.text},
        _TOOL_CALL,
        order=(*_ID_TYPE_STATUS, "arguments", "call_id", "name"),
    ),
    "function_call_output": _type(
        "fc",
        {"output": f.OUTPUT},
        {"call_id": f.CALL_ID, "name": f.text, **_NAMESPACE, **_CALL},
        order=(*_ID_TYPE_STATUS, "output", "call_id"),
    ),
    "tool_search_call": _type("tsc", {"arguments": f.anything}, _SEARCH),
    "tool_search_output": _type("tso", {"tools": f.TOOLS}, _SEARCH),
    "additional_tools": _type("at", {"role": f.one_of("developer"), "tools": f.TOOLS}, statuses=()),
    "configuration_update": _type(
        "cnfu",
        optional={
            "reasoning": f.record(optional={"effort": f.text}),
            "text": f.record({"format": f.record({"type": f.text})}),
        },
        prefixes=(),
        statuses=(),
    ),
    "reasoning": _type(
        "rs",
        {"summary": _SUMMARY},
        {"content": _REASONING_TEXT, "encrypted_content": f.text},
        status_stored=False,
        order=("id", "type", "summary"),
    ),
    "compaction": _type(
        "cmp",
        {"encrypted_content": f.text_of(most=f.ENCRYPTED_CONTENT_LENGTH_MAX)},
        statuses=(),
        order=("id", "type", "encrypted_content"),
    ),
    "image_generation_call": _type(
        "ig",
        optional={**_IMAGE, "error": f.mapping, "svg_usage": f.mapping},
        statuses=("in_progress", "completed", "generating", "failed"),
        status_sent=True,
    ),
    "code_interpreter_call": _type(
        "ci",
        {"container_id": f.text},
        {"code": f.text, "outputs": f.array_of(_CODE_OUTPUT)},
        statuses=(*STATUSES, "interpreting", "failed"),
        status_sent=True,
    ),
    "local_shell_call": _type(
        "lsh", {"call_id": f.CALL_ID, "action": _LOCAL_SHELL_ACTION}, status_sent=True
    ),
    "local_shell_call_output": _type(
        "lsho",
        {"output": f.text},
        {"call_id": f.CALL_ID},
        # The API's reference calls this id that of the call.
        prefixes=("lsho", "lsh", "call"),
        status_stored=False,
    ),
    "shell_call": _type(
        "sh",
        {"call_id": f.CALL_ID, "action": _SHELL_ACTION},
        {"environment": _SHELL_ENVIRONMENT, **_CALL},
    ),
    "shell_call_output": _type(
        "sho",
        {"call_id": f.CALL_ID, "output": f.array_of(_SHELL_OUTPUT)},
        {"max_output_length": f.integer, **_CALL},
    ),
    "apply_patch_call": _type(
        "apc",
        {"call_id": f.CALL_ID, "operation": _OPERATION},
        _CALL,
        statuses=("in_progress", "completed"),
        status_sent=True,
    ),
    "apply_patch_call_output": _type(
        "apco",
        {"call_id": f.CALL_ID},
        {"output": f.text_of(most=f.OUTPUT_LENGTH_MAX), **_CALL},
        statuses=("completed", "failed"),
        status_sent=True,
    ),
    "mcp_list_tools": _type(
        "mcpl",
        {"server_label": f.text, "tools": f.array_of(_MCP_TOOL)},
        {"error": f.text},
        statuses=(),
    ),
    "mcp_approval_request": _type("mcpr", _MCP_CALL, statuses=()),
    "mcp_approval_response": _type(
        "mcpa",
        {"approval_request_id": f.text_of(least=1), "approve": f.boolean},
        {"reason": f.text},
        statuses=(),
    ),
    "mcp_call": _type(
        "mcp",
        _MCP_CALL,
        {"output": f.text, "error": _MCP_ERROR, "approval_request_id": f.text},
        statuses=(*STATUSES, "calling", "failed"),
        status_stored=False,
    ),
    "custom_tool_call_output": _type("ctco", {"call_id": f.CALL_ID, "output": f.OUTPUT}, _CALL),
    "custom_tool_call": _type(
        "ctc", {"call_id": f.CALL_ID, "name": f.NAME, "input": f.text}, _TOOL_CALL
    ),
    "program": _type(
        "prog",
        {"call_id": f.CALL_ID, "code": f.text, "fingerprint": f.text},
        prefixes=(),
        statuses=(),
    ),
    "program_output": _type(
        "prog",
        {"call_id": f.CALL_ID, "result": f.text},
        prefixes=(),
        statuses=("completed", "incomplete"),
        status_sent=True,
    ),
}
"""Every item type that is stored."""

NAMES = (*TYPES, TRIGGER, REFERENCE)
"""Every item type that is taken."""
