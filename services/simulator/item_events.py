"""The events between an item's beginning and its end, for every type of item."""

from collections.abc import Callable
from typing import Any

from services.simulator.answer import pieces
from services.simulator.hosted_items import PIXEL
from services.simulator.hosted_tools import Item
from services.simulator.logprobs import without_bytes
from services.simulator.stream import Stream

Place = dict[str, Any]
"""Where an event belongs: ``item_id`` and ``output_index``."""

_PIECE_LENGTH = 8

_UNKNOWN: dict[str, Item] = {
    "message": {"content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "file_search_call": {"queries": [], "results": None},
    "code_interpreter_call": {"code": "", "outputs": None},
    "image_generation_call": {"result": None, "error": None},
    "mcp_list_tools": {"tools": [], "error": None},
    "mcp_call": {"arguments": "", "output": None, "error": None},
    "shell_call_output": {"output": []},
    "compaction": {"encrypted_content": ""},
}
"""What of an item is not known yet when it begins."""


def stream_item(stream: Stream, item: Item, index: int) -> None:
    """A whole item."""
    place = _begin(stream, item, index)
    if steps := _STEPS.get(item["type"]):
        steps(stream, item, place)
    stream.done(item, index)


def stream_broken(stream: Stream, item: Item, index: int) -> None:
    """A message that is not finished."""
    _message_deltas(stream, item, _begin(stream, item, index))


def _begin(stream: Stream, item: Item, index: int) -> Place:
    kind = item["type"]
    opened = {**item, **_UNKNOWN.get(kind, {})}
    # The output of a program has no status to begin with.
    if "status" in item and kind != "program_output":
        opened["status"] = "in_progress"
    if kind == "reasoning":
        opened.pop("content", None)
        opened.pop("encrypted_content", None)
    stream.added(opened, index)
    return {"item_id": item["id"], "output_index": index}


def _message(stream: Stream, item: Item, place: Place) -> None:
    _message_deltas(stream, item, place)
    part = item["content"][0]
    place = {"content_index": 0, **place}
    if part["type"] == "refusal":
        stream.event("response.refusal.done", {**place, "refusal": part["refusal"]})
    else:
        for number, annotation in enumerate(part["annotations"]):
            marked = {"annotation": annotation, "annotation_index": number}
            stream.event("response.output_text.annotation.added", {**place, **marked})
        said = {"logprobs": without_bytes(part["logprobs"]), "text": part["text"]}
        stream.event("response.output_text.done", {**place, **said})
    stream.event("response.content_part.done", {**place, "part": part})


def _message_deltas(stream: Stream, item: Item, place: Place) -> None:
    part = item["content"][0]
    place = {"content_index": 0, **place}
    if part["type"] == "refusal":
        stream.event("response.content_part.added", {**place, "part": {**part, "refusal": ""}})
        stream.deltas("response.refusal.delta", pieces(part["refusal"]), place)
        return
    empty = {**part, "annotations": [], "logprobs": [], "text": ""}
    stream.event("response.content_part.added", {**place, "part": empty})
    texts, name = pieces(part["text"]), "response.output_text.delta"
    if not part["logprobs"]:
        stream.deltas(name, texts, {**place, "logprobs": []})
        return
    for text, logprob in zip(texts, without_bytes(part["logprobs"]), strict=True):
        stream.event(name, {**place, "delta": text, "logprobs": [logprob]}, delta=True)


def _reasoning(stream: Stream, item: Item, place: Place) -> None:
    for number, part in enumerate(item["summary"]):
        here, name = {**place, "summary_index": number}, "response.reasoning_summary"
        stream.event(f"{name}_part.added", {**here, "part": {**part, "text": ""}})
        stream.deltas(f"{name}_text.delta", pieces(part["text"]), here)
        stream.event(f"{name}_text.done", {**here, "text": part["text"]})
        stream.event(f"{name}_part.done", {**here, "part": part})
    for number, part in enumerate(item.get("content", ())):
        here = {**place, "content_index": number}
        stream.event("response.content_part.added", {**here, "part": {**part, "text": ""}})
        stream.deltas("response.reasoning_text.delta", pieces(part["text"]), here)
        stream.event("response.reasoning_text.done", {**here, "text": part["text"]})
        stream.event("response.content_part.done", {**here, "part": part})


def _function_call(stream: Stream, item: Item, place: Place) -> None:
    _written(stream, "response.function_call_arguments", place, arguments=item["arguments"])


def _custom_tool_call(stream: Stream, item: Item, place: Place) -> None:
    _written(stream, "response.custom_tool_call_input", place, input=item["input"])


def _search(stream: Stream, item: Item, place: Place) -> None:
    _progress(stream, item, place, "in_progress", "searching", _end(item))


def _code_interpreter(stream: Stream, item: Item, place: Place) -> None:
    _progress(stream, item, place, "in_progress")
    _written(stream, "response.code_interpreter_call_code", place, code=item["code"])
    _progress(stream, item, place, "interpreting", _end(item))


def _image_generation(stream: Stream, item: Item, place: Place) -> None:
    _progress(stream, item, place, "in_progress", "generating")
    look = {name: item[name] for name in ("background", "output_format", "quality", "size")}
    for number in range(stream.partial_images):
        image = {"partial_image_index": number, "partial_image_b64": PIXEL, **look}
        stream.event("response.image_generation_call.partial_image", {**place, **image}, delta=True)
    _progress(stream, item, place, _end(item))


def _mcp_list_tools(stream: Stream, item: Item, place: Place) -> None:
    _progress(stream, item, place, "in_progress", "failed" if item["error"] else "completed")


def _mcp_call(stream: Stream, item: Item, place: Place) -> None:
    _progress(stream, item, place, "in_progress")
    _written(stream, "response.mcp_call_arguments", place, arguments=item["arguments"])
    _progress(stream, item, place, item["status"])


def _shell_call(stream: Stream, item: Item, place: Place) -> None:
    name = "response.shell_call_command"
    for number, command in enumerate(item["action"]["commands"]):
        # These events do not say which item they belong to (contract 3.4).
        here = {"output_index": place["output_index"], "command_index": number}
        stream.event(f"{name}.added", {**here, "command": ""})
        _written(stream, name, here, command=command)


def _shell_call_output(stream: Stream, item: Item, place: Place) -> None:
    name = "response.shell_call_output_content"
    for number, output in enumerate(item["output"]):
        here = {**place, "command_index": number}
        stream.deltas(f"{name}.delta", [{key: output[key]} for key in ("stdout", "stderr")], here)
        stream.event(f"{name}.done", {**here, "output": [output]})


def _compaction(stream: Stream, _item: Item, place: Place) -> None:
    for _ in range(2):
        stream.event("response.compaction.compacting", place, delta=True)


def _written(stream: Stream, name: str, place: Place, **whole: str) -> None:
    """Deltas of what a model writes besides texts, and their end."""
    ((_, text),) = whole.items()
    parts = [text[at : at + _PIECE_LENGTH] for at in range(0, len(text), _PIECE_LENGTH)]
    stream.deltas(f"{name}.delta", parts, place)
    stream.event(f"{name}.done", {**place, **whole})


def _progress(stream: Stream, item: Item, place: Place, *states: str | None) -> None:
    for state in filter(None, states):
        stream.event(f"response.{item['type']}.{state}", place, delta=True)


def _end(item: Item) -> str | None:
    """These types have no event for a failure."""
    return "completed" if item["status"] == "completed" else None


_STEPS: dict[str, Callable[[Stream, Item, Place], None]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _custom_tool_call,
    "web_search_call": _search,
    "file_search_call": _search,
    "code_interpreter_call": _code_interpreter,
    "image_generation_call": _image_generation,
    "mcp_list_tools": _mcp_list_tools,
    "mcp_call": _mcp_call,
    "shell_call": _shell_call,
    "shell_call_output": _shell_call_output,
    "compaction": _compaction,
}
"""Types with events of their own; the others only begin and end."""
