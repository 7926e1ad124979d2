"""The events of a turn that has ended, told from the log: whole parts, no deltas (contract 3.5).

What a stream said word by word is kept for a while only; this says the same, in the order in which
it was said.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.http import stream_events
from services.conversation.history import Turn
from services.conversation.response import render

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def opening(turn: Turn, *, status: str) -> Turn:
    """``turn`` as it was before it had said anything."""
    return msgspec.structs.replace(
        turn,
        status=status,
        output=(),
        usage=None,
        reason=None,
        error_code=None,
        error_message=None,
        ended_at=None,
    )


def terminal(turn: Turn, *, conversation_id: str, number: int) -> bytes:
    """The frame of the one event an ended turn ends with."""
    return stream_events.terminal(
        turn.status, render(turn, conversation_id=conversation_id), number
    )


def retold(turn: Turn, *, conversation_id: str) -> list[bytes]:
    """The frames of an ended turn, numbered from 0."""
    frames: list[bytes] = []
    for name, status in _beginning(turn):
        response = render(opening(turn, status=status), conversation_id=conversation_id)
        frames.append(stream_events.lifecycle(name, response, len(frames)))
    for index, item in enumerate(turn.output):
        for event in _item_events(_decode(item.raw), index):
            numbered = {**event, "sequence_number": len(frames)}
            # Keys after the type are alphabetical (contract 3.1).
            ordered = {"type": numbered.pop("type"), **dict(sorted(numbered.items()))}
            frames.append(stream_events.frame(ordered["type"], _encode(ordered)))
    frames.append(terminal(turn, conversation_id=conversation_id, number=len(frames)))
    return frames


def _beginning(turn: Turn) -> Iterator[tuple[str, str]]:
    if turn.background:
        yield "response.created", "queued"
        yield "response.queued", "queued"
    else:
        yield "response.created", "in_progress"
    yield "response.in_progress", "in_progress"


def _item_events(item: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    yield {
        "type": "response.output_item.added",
        "item": _begun(item),
        "output_index": index,
    }
    match item["type"]:
        case "message":
            for number, part in enumerate(item["content"]):
                yield from _part_events(part, {**place, "content_index": number})
        case "reasoning":
            for number, part in enumerate(item["summary"]):
                yield from _summary_events(part, {**place, "summary_index": number})
            for number, part in enumerate(item.get("content") or ()):
                yield from _part_events(part, {**place, "content_index": number})
        case "function_call":
            yield {
                "type": "response.function_call_arguments.done",
                **place,
                "arguments": item["arguments"],
                "name": item["name"],
            }
        case "custom_tool_call":
            yield {
                "type": "response.custom_tool_call_input.done",
                **place,
                "input": item["input"],
            }
        case "compaction":
            yield {"type": "response.compaction.compacting", **place}
        case _:
            pass
    yield {"type": "response.output_item.done", "item": item, "output_index": index}


_SAYS: dict[str, dict[str, Any]] = {
    "message": {"content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "compaction": {"encrypted_content": ""},
}
"""What an item of a type begins with, where it has events of its own."""


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    """An item before it had said anything."""
    said = _SAYS.get(item["type"], {})
    begun = {**item, **said}
    if item["type"] == "reasoning":
        begun.pop("content", None)
    if said and "status" in begun:
        begun["status"] = "in_progress"
    return begun


def _part_events(part: dict[str, Any], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = part["type"]
    told = "refusal" if kind == "refusal" else "text"
    yield {"type": "response.content_part.added", **place, "part": {**part, told: ""}}
    done: dict[str, Any] = {"type": f"response.{kind}.done", **place, told: part[told]}
    if kind == "output_text":
        done["logprobs"] = part.get("logprobs") or []
    yield done
    yield {"type": "response.content_part.done", **place, "part": part}


def _summary_events(part: dict[str, Any], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    name = "response.reasoning_summary"
    yield {"type": f"{name}_part.added", **place, "part": {**part, "text": ""}}
    yield {"type": f"{name}_text.done", **place, "text": part["text"]}
    yield {"type": f"{name}_part.done", **place, "part": part}
