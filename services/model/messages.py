"""A window as chat messages (pure).

Chat knows messages, calls of function and custom tools, and their outputs. Items of hosted tools
are left out, with those of tools it has no calls for and all reasoning: they tell how an earlier
answer came about, and the answer stands after them. Parts of a message are not: an image or a file
that chat cannot be given is refused.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.conversation import pairing
from services.conversation.history import Item
from services.model.chat_parameters import unavailable

_decode = msgspec.json.Decoder().decode

_ROLES = {"developer": "system"}
"""Roles by another name: servers that only speak chat know no developer."""


def messages(items: Sequence[Item], instructions: str | None) -> list[dict[str, Any]]:
    """Chat messages of a window; adjacent tool calls share one assistant message.

    The chat API wants the outputs of calls right behind them, wherever they stand in the window.
    """
    told: list[dict[str, Any]] = []
    calls: dict[str, dict[str, Any]] = {}
    if instructions:
        told.append({"role": "system", "content": instructions})
    for item, answer in zip(items, pairing.answered(items), strict=True):
        value = _decode(item.raw)
        match item.type:
            case "message":
                role = value["role"]
                told.append({"role": _ROLES.get(role, role), "content": _content(value["content"])})
            case "function_call" | "custom_tool_call":
                if not (told and told[-1]["role"] == "assistant"):
                    told.append({"role": "assistant", "content": None})
                told[-1].setdefault("tool_calls", []).append(_tool_call(value))
                calls[value["call_id"]] = told[-1]
            case "function_call_output" | "custom_tool_call_output" if answer:
                told.insert(_behind(told, calls.get(answer[1])), _output(value, answer[1]))
            case "function_call_output":
                # It names no call, and none waits: here only a user can say it.
                told.append({"role": "user", "content": _output_content(value)})
            case _:
                continue
    return told


def _behind(told: list[dict[str, Any]], caller: dict[str, Any] | None) -> int:
    """Where the next output of a message's calls belongs."""
    if caller is None:
        return len(told)
    place = next(index for index, message in enumerate(told) if message is caller) + 1
    while place < len(told) and told[place]["role"] == "tool":
        place += 1
    return place


def _output(value: dict[str, Any], call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": _output_content(value)}


def _output_content(value: dict[str, Any]) -> Any:
    output = value["output"]
    return output if isinstance(output, str) else _content(output)


def _tool_call(value: dict[str, Any]) -> dict[str, Any]:
    if value["type"] == "custom_tool_call":
        custom = {"name": value["name"], "input": value["input"]}
        return {"id": value["call_id"], "type": "custom", "custom": custom}
    function = {"name": value["name"], "arguments": value["arguments"]}
    return {"id": value["call_id"], "type": "function", "function": function}


def _content(parts: list[dict[str, Any]]) -> Any:
    """Texts alone are one text; with anything else among them they are parts."""
    if all("text" in part or "refusal" in part for part in parts):
        return "".join(_text(part) for part in parts)
    return [_part(part) for part in parts]


def _text(part: dict[str, Any]) -> str:
    return part.get("text") or part.get("refusal") or ""


def _part(part: dict[str, Any]) -> dict[str, Any]:
    match part["type"]:
        case "input_image" | "computer_screenshot":
            if not part.get("image_url"):
                raise unavailable("An image by its file id is", param="input")
            image = {"url": part["image_url"], "detail": part.get("detail") or "auto"}
            return {"type": "image_url", "image_url": image}
        case "input_file":
            named = {
                name: part[name]
                for name in ("file_id", "file_data", "filename")
                if part.get(name) is not None
            }
            if not (named.get("file_id") or named.get("file_data")):
                raise unavailable("A file by its URL is", param="input")
            return {"type": "file", "file": named}
        case _ if "text" in part or "refusal" in part:
            return {"type": "text", "text": _text(part)}
        case kind:
            raise unavailable(f"Content of type '{kind}' is", param="input")
