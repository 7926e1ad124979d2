"""Windows and answers between the two upstream APIs: items to chat messages, and back (pure)."""

from typing import Any

import msgspec

from schemas.http.checks import Fields
from schemas.http.responses import Usage
from services.conversation import pairing
from services.conversation.history import Item

_decode = msgspec.json.Decoder().decode

_RENAMED = {"max_output_tokens": "max_completion_tokens"}
_SAME = (
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
)


def messages(items: tuple[Item, ...], instructions: str | None) -> list[dict[str, Any]]:
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
                told.append({"role": value["role"], "content": _content(value)})
            case "function_call":
                if not (told and told[-1]["role"] == "assistant"):
                    told.append({"role": "assistant", "content": None})
                told[-1].setdefault("tool_calls", []).append(_tool_call(value))
                calls[value["call_id"]] = told[-1]
            case "function_call_output" if answer:
                told.insert(_behind(told, calls.get(answer[1])), _output(value, answer[1]))
            case "function_call_output":
                # It names no call, and none waits: here only a user can say it.
                told.append({"role": "user", "content": _text_of(value["output"])})
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
    return {"role": "tool", "tool_call_id": call_id, "content": _text_of(value["output"])}


def _text_of(output: Any) -> str:
    return output if isinstance(output, str) else _joined(output)


def parameters(given: Fields) -> dict[str, Any]:
    """The parameters both APIs have, in the spelling of the chat API."""
    sent: dict[str, Any] = {name: given[name] for name in _SAME if name in given}
    sent.update({new: given[old] for old, new in _RENAMED.items() if old in given})
    if "tools" in given:
        tools = [_tool(tool) for tool in _decode(given["tools"]) if tool["type"] == "function"]
        if tools:
            sent["tools"] = tools
    if "tool_choice" in given and "tools" in sent:
        sent["tool_choice"] = _tool_choice(_decode(given["tool_choice"]))
    if "text" in given and (form := _decode(given["text"]).get("format")):
        sent["response_format"] = _response_format(form)
    if "reasoning" in given and (effort := _decode(given["reasoning"]).get("effort")):
        sent["reasoning_effort"] = effort
    return sent


def usage(given: dict[str, Any] | None) -> Usage:
    """A chat API's count in the contract's shape."""
    counted = given or {}
    prompt = counted.get("prompt_tokens_details") or {}
    completion = counted.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=counted.get("prompt_tokens") or 0,
        input_tokens_details=Usage.InputDetails(cached_tokens=prompt.get("cached_tokens") or 0),
        output_tokens=counted.get("completion_tokens") or 0,
        output_tokens_details=Usage.OutputDetails(
            reasoning_tokens=completion.get("reasoning_tokens") or 0
        ),
        total_tokens=counted.get("total_tokens") or 0,
    )


def _content(value: dict[str, Any]) -> Any:
    parts = value["content"]
    if all("text" in part or "refusal" in part for part in parts):
        return _joined(parts)
    return [_part(part) for part in parts]


def _joined(parts: list[dict[str, Any]]) -> str:
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts)


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] in {"input_image", "computer_screenshot"}:
        image = {"url": part.get("image_url"), "detail": part.get("detail") or "auto"}
        return {"type": "image_url", "image_url": image}
    if part["type"] == "input_file":
        named = {name: part[name] for name in ("file_id", "file_data", "filename") if name in part}
        return {"type": "file", "file": named}
    return {"type": "text", "text": part.get("text") or part.get("refusal") or ""}


def _tool_call(value: dict[str, Any]) -> dict[str, Any]:
    function = {"name": value["name"], "arguments": value["arguments"]}
    return {"id": value["call_id"], "type": "function", "function": function}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = {
        name: tool[name]
        for name in ("name", "description", "parameters", "strict")
        if tool.get(name) is not None
    }
    return {"type": "function", "function": function}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


def _response_format(form: dict[str, Any]) -> dict[str, Any]:
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    schema = {name: form[name] for name in ("name", "schema", "strict") if name in form}
    return {"type": "json_schema", "json_schema": schema}
