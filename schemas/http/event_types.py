"""Every type of event a stream may hold (contract 3.4), and what events of it hold."""

import msgspec


class EventType(msgspec.Struct, frozen=True):
    """What an event between the first and the last holds.

    ``fields`` are always there, besides ``type`` and ``sequence_number``. ``piece`` is the field
    that adds to its item, ``place`` the index of what it adds to. ``item`` and ``part`` are the
    types of the item and of its part where the SDK takes no other (contract 3.6).
    """

    fields: tuple[str, ...] = ()
    place: str | None = None
    piece: str | None = None
    item: str | None = None
    part: str | None = None


_OF = ("item_id", "output_index")


def _item(piece: str, item: str | None = None) -> EventType:
    return EventType((*_OF, piece), None, piece, item)


def _part(piece: str) -> EventType:
    return EventType((*_OF, "content_index", piece), "content_index", piece)


def _text(piece: str) -> EventType:
    fields = (*_OF, "content_index", "logprobs", piece)
    return EventType(fields, "content_index", piece, "message", "output_text")


def _summary(piece: str) -> EventType:
    return EventType((*_OF, "summary_index", piece), "summary_index", piece)


def _command(piece: str) -> EventType:
    return EventType(("output_index", "command_index", piece), "command_index", piece)


TYPES: dict[str, EventType] = {
    "response.output_item.added": EventType(("output_index", "item")),
    "response.output_item.done": EventType(("output_index", "item")),
    "response.content_part.added": _part("part"),
    "response.content_part.done": _part("part"),
    "response.output_text.delta": _text("delta"),
    "response.output_text.done": _text("text"),
    "response.output_text.annotation.added": EventType(
        (*_OF, "content_index", "annotation_index", "annotation"), "content_index", "annotation"
    ),
    "response.refusal.delta": _part("delta"),
    "response.refusal.done": _part("refusal"),
    "response.reasoning_text.delta": _part("delta"),
    "response.reasoning_text.done": _part("text"),
    "response.reasoning_summary_part.added": _summary("part"),
    "response.reasoning_summary_part.done": _summary("part"),
    "response.reasoning_summary_text.delta": _summary("delta"),
    "response.reasoning_summary_text.done": _summary("text"),
    "response.function_call_arguments.delta": _item("delta", "function_call"),
    "response.function_call_arguments.done": _item("arguments", "function_call"),
    "response.custom_tool_call_input.delta": _item("delta"),
    "response.custom_tool_call_input.done": _item("input"),
    "response.mcp_call_arguments.delta": _item("delta"),
    "response.mcp_call_arguments.done": _item("arguments"),
    "response.code_interpreter_call_code.delta": _item("delta"),
    "response.code_interpreter_call_code.done": _item("code"),
    "response.shell_call_command.added": _command("command"),
    "response.shell_call_command.delta": _command("delta"),
    "response.shell_call_command.done": _command("command"),
    "response.shell_call_output_content.delta": EventType((*_OF, "command_index", "delta")),
    "response.shell_call_output_content.done": EventType(
        (*_OF, "command_index", "output"), "command_index", "output"
    ),
    "response.compaction.compacting": EventType(_OF),
    "response.web_search_call.in_progress": EventType(_OF),
    "response.web_search_call.searching": EventType(_OF),
    "response.web_search_call.completed": EventType(_OF),
    "response.file_search_call.in_progress": EventType(_OF),
    "response.file_search_call.searching": EventType(_OF),
    "response.file_search_call.completed": EventType(_OF),
    "response.code_interpreter_call.in_progress": EventType(_OF),
    "response.code_interpreter_call.interpreting": EventType(_OF),
    "response.code_interpreter_call.completed": EventType(_OF),
    "response.image_generation_call.in_progress": EventType(_OF),
    "response.image_generation_call.generating": EventType(_OF),
    "response.image_generation_call.partial_image": EventType(
        (*_OF, "partial_image_b64", "partial_image_index")
    ),
    "response.image_generation_call.completed": EventType(_OF),
    "response.mcp_call.in_progress": EventType(_OF),
    "response.mcp_call.completed": EventType(_OF),
    "response.mcp_call.failed": EventType(_OF),
    "response.mcp_list_tools.in_progress": EventType(_OF),
    "response.mcp_list_tools.completed": EventType(_OF),
    "response.mcp_list_tools.failed": EventType(_OF),
    "response.audio.delta": EventType(("delta",)),
    "response.audio.done": EventType(),
    "response.audio.transcript.delta": EventType(("delta",)),
    "response.audio.transcript.done": EventType(),
}
"""Every type of the contract (contract 3.4), except those that tell a response's own states."""

BEGINNINGS = frozenset({"response.created", "response.queued", "response.in_progress"})
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
ERROR = "error"

GROWING = {
    "message": ("content", msgspec.Raw(b"[]")),
    "reasoning": ("summary", msgspec.Raw(b"[]")),
    "function_call": ("arguments", msgspec.Raw(b'""')),
    "custom_tool_call": ("input", msgspec.Raw(b'""')),
    "mcp_call": ("arguments", msgspec.Raw(b'""')),
}
"""Types of items that are told piece by piece: the field that grows, and how it begins."""
