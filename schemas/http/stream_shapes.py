"""Every event a streamed response may hold, and its shape (contract 3.4)."""

from schemas import shapes
from schemas.shapes import Shape

_OF_ITEM = ("item_id", "output_index")
_OF_PART = (*_OF_ITEM, "content_index")
_OF_SUMMARY = (*_OF_ITEM, "summary_index")
_OF_COMMAND = ("output_index", "command_index")

EVENTS: dict[str, tuple[str, ...]] = {
    "response.created": ("response",),
    "response.queued": ("response",),
    "response.in_progress": ("response",),
    "response.completed": ("response",),
    "response.failed": ("response",),
    "response.incomplete": ("response",),
    "error": ("code", "message", "param"),
    "response.output_item.added": ("output_index", "item"),
    "response.output_item.done": ("output_index", "item"),
    "response.content_part.added": (*_OF_PART, "part"),
    "response.content_part.done": (*_OF_PART, "part"),
    "response.output_text.delta": (*_OF_PART, "delta", "logprobs"),
    "response.output_text.done": (*_OF_PART, "text", "logprobs"),
    "response.output_text.annotation.added": (*_OF_PART, "annotation_index", "annotation"),
    "response.refusal.delta": (*_OF_PART, "delta"),
    "response.refusal.done": (*_OF_PART, "refusal"),
    "response.function_call_arguments.delta": (*_OF_ITEM, "delta"),
    "response.function_call_arguments.done": (*_OF_ITEM, "arguments"),
    "response.custom_tool_call_input.delta": (*_OF_ITEM, "delta"),
    "response.custom_tool_call_input.done": (*_OF_ITEM, "input"),
    "response.reasoning_summary_part.added": (*_OF_SUMMARY, "part"),
    "response.reasoning_summary_part.done": (*_OF_SUMMARY, "part"),
    "response.reasoning_summary_text.delta": (*_OF_SUMMARY, "delta"),
    "response.reasoning_summary_text.done": (*_OF_SUMMARY, "text"),
    "response.reasoning_text.delta": (*_OF_PART, "delta"),
    "response.reasoning_text.done": (*_OF_PART, "text"),
    "response.compaction.compacting": _OF_ITEM,
    "response.mcp_call_arguments.delta": (*_OF_ITEM, "delta"),
    "response.mcp_call_arguments.done": (*_OF_ITEM, "arguments"),
    "response.mcp_call.in_progress": _OF_ITEM,
    "response.mcp_call.completed": _OF_ITEM,
    "response.mcp_call.failed": _OF_ITEM,
    "response.mcp_list_tools.in_progress": _OF_ITEM,
    "response.mcp_list_tools.completed": _OF_ITEM,
    "response.mcp_list_tools.failed": _OF_ITEM,
    "response.web_search_call.in_progress": _OF_ITEM,
    "response.web_search_call.searching": _OF_ITEM,
    "response.web_search_call.completed": _OF_ITEM,
    "response.file_search_call.in_progress": _OF_ITEM,
    "response.file_search_call.searching": _OF_ITEM,
    "response.file_search_call.completed": _OF_ITEM,
    "response.code_interpreter_call.in_progress": _OF_ITEM,
    "response.code_interpreter_call.interpreting": _OF_ITEM,
    "response.code_interpreter_call.completed": _OF_ITEM,
    "response.code_interpreter_call_code.delta": (*_OF_ITEM, "delta"),
    "response.code_interpreter_call_code.done": (*_OF_ITEM, "code"),
    "response.image_generation_call.in_progress": _OF_ITEM,
    "response.image_generation_call.generating": _OF_ITEM,
    "response.image_generation_call.partial_image": (
        *_OF_ITEM,
        "partial_image_index",
        "partial_image_b64",
    ),
    "response.image_generation_call.completed": _OF_ITEM,
    "response.shell_call_command.added": (*_OF_COMMAND, "command"),
    "response.shell_call_command.delta": (*_OF_COMMAND, "delta"),
    "response.shell_call_command.done": (*_OF_COMMAND, "command"),
    "response.shell_call_output_content.delta": ("item_id", *_OF_COMMAND, "delta"),
    "response.shell_call_output_content.done": ("item_id", *_OF_COMMAND, "output"),
    "response.audio.delta": ("delta",),
    "response.audio.done": (),
    "response.audio.transcript.delta": ("delta",),
    "response.audio.transcript.done": (),
}
"""Every event a stream may hold, with the fields it always has (contract 3.4).

Lifecycle and compactions are ours; the rest are the model's, relayed under our ids.
"""

TERMINAL = ("response.completed", "response.failed", "response.incomplete")
"""A stream ends with exactly one of these."""

_FIELDS: dict[str, Shape] = {
    "response": shapes.ref("Response"),
    "item": shapes.ref("Item"),
    "part": shapes.ref("ContentPart"),
    "annotation": shapes.OBJECT,
    "logprobs": shapes.array(shapes.OBJECT),
    "output": shapes.array(shapes.OBJECT),
}
"""Fields that are neither texts nor, as the end of their name says, counted from 0."""

_SPECIAL: dict[tuple[str, str], Shape] = {
    ("error", "code"): shapes.nullable(shapes.TEXT),
    ("error", "param"): shapes.nullable(shapes.TEXT),
    ("response.shell_call_output_content.delta", "delta"): shapes.OBJECT,
}
"""Fields whose name means something else in other events."""


def described() -> dict[str, Shape]:
    """Shapes by name: the union of all events, and each of them."""
    names = {event: shapes.name_of(event) + "Event" for event in EVENTS}
    events = {name: _event(event) for event, name in names.items()}
    says = "The data of one server-sent event; ``sequence_number`` counts them from 0, gapless."
    return {
        "ServerSentEvent": _sent(),
        "ResponseStreamEvent": shapes.union(names, says=says),
        **events,
    }


def _sent() -> Shape:
    """One event as it is framed, the way OpenAPI 3.2 describes what streams are made of."""
    fields = {
        "event": shapes.one_of(EVENTS),
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": shapes.ref("ResponseStreamEvent"),
        },
    }
    says = f"One of the events of a stream. Its last is one of {', '.join(TERMINAL)}."
    return shapes.record(fields, required=fields, says=says)


def _event(event: str) -> Shape:
    fields = {
        "type": shapes.exactly(event),
        **{name: _field(event, name) for name in EVENTS[event]},
        "sequence_number": shapes.integer(least=0),
    }
    padding = {"obfuscation": _PADDING} if event.endswith(".delta") else {}
    return shapes.record({**fields, **padding}, required=fields)


_PADDING = shapes.described(
    shapes.TEXT, "Random characters where they are asked for: lengths then tell nothing."
)


def _field(event: str, name: str) -> Shape:
    known = _SPECIAL.get((event, name)) or _FIELDS.get(name)
    return known or (shapes.integer(least=0) if name.endswith("_index") else shapes.TEXT)
