"""Parameters of a response as Chat Completions spells them (pure).

What changes the answer and has no form there is refused before anything is sent: tools that the
upstream would have to host. What only asks for more to be told is left out, as is all that is about
state.
"""

from typing import Any

import msgspec

from schemas.http.checks import Fields
from services.model import ModelRefused

_decode = msgspec.json.Decoder().decode

_SAME = (
    "temperature",
    "top_p",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
)
_RENAMED = {"max_output_tokens": "max_completion_tokens"}
_LOGPROBS = "message.output_text.logprobs"


def parameters(given: Fields) -> dict[str, Any]:
    """The parameters both APIs have; raises `ModelRefused` for what chat cannot do."""
    sent: dict[str, Any] = {name: given[name] for name in _SAME if name in given}
    sent.update({new: given[old] for old, new in _RENAMED.items() if old in given})
    sent.update(_tools(given))
    sent.update(_text(_plain(given, "text")))
    if effort := _plain(given, "reasoning").get("effort"):
        sent["reasoning_effort"] = effort
    likely = _decode(given["top_logprobs"]) if "top_logprobs" in given else 0
    if likely or _LOGPROBS in (_decode(given["include"]) if "include" in given else ()):
        sent["logprobs"] = True
    if likely:
        sent["top_logprobs"] = likely
    return sent


def unavailable(what: str, *, param: str) -> ModelRefused:
    """The refusal of what only a server with the Responses API could do."""
    return ModelRefused(
        f"{what} not available through the chat API that this model is called by.",
        status=400,
        code="invalid_value",
        param=param,
    )


def _plain(given: Fields, name: str) -> dict[str, Any]:
    value = _decode(given[name]) if name in given else {}
    return value if isinstance(value, dict) else {}


def _text(text: dict[str, Any]) -> dict[str, Any]:
    sent: dict[str, Any] = {}
    if form := text.get("format"):
        sent["response_format"] = _response_format(form)
    if verbosity := text.get("verbosity"):
        sent["verbosity"] = verbosity
    return sent


def _response_format(form: dict[str, Any]) -> dict[str, Any]:
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    return {
        "type": "json_schema",
        "json_schema": _some(form, "name", "description", "schema", "strict"),
    }


def _tools(given: Fields) -> dict[str, Any]:
    offered = _decode(given["tools"]) if "tools" in given else []
    tools = {_key(tool): _tool(tool, f"tools[{index}].type") for index, tool in enumerate(offered)}
    choice, allowed = _choice(_decode(given["tool_choice"]) if "tool_choice" in given else None)
    if allowed is not None:
        tools = {key: tool for key, tool in tools.items() if key in allowed}
    if not tools:
        return {}
    sent: dict[str, Any] = {"tools": list(tools.values())}
    if choice is not None:
        sent["tool_choice"] = choice
    if "parallel_tool_calls" in given:
        # Chat takes it only together with tools.
        sent["parallel_tool_calls"] = given["parallel_tool_calls"]
    return sent


def _key(tool: dict[str, Any]) -> tuple[Any, Any]:
    return tool.get("type"), tool.get("name")


def _tool(tool: dict[str, Any], param: str) -> dict[str, Any]:
    match tool["type"]:
        case "function":
            function = _some(tool, "name", "description", "parameters", "strict")
            return {"type": "function", "function": function}
        case "custom":
            custom = _some(tool, "name", "description")
            if form := tool.get("format"):
                custom["format"] = _tool_format(form)
            return {"type": "custom", "custom": custom}
        case kind:
            raise unavailable(f"Tool '{kind}' is", param=param)


def _tool_format(form: dict[str, Any]) -> dict[str, Any]:
    if form.get("type") != "grammar":
        return form
    return {"type": "grammar", "grammar": _some(form, "syntax", "definition")}


def _choice(choice: Any) -> tuple[Any, set[tuple[Any, Any]] | None]:
    """The choice in chat's spelling, and the tools it is among if those are not all.

    Chat has a spelling for allowed tools that hardly any server takes: only those are offered
    instead, which every server understands.
    """
    if not isinstance(choice, dict):
        return choice, None
    match choice.get("type"):
        case "function" | "custom" as kind:
            return {"type": kind, kind: {"name": choice.get("name")}}, None
        case "allowed_tools":
            allowed = {_key(tool) for tool in choice.get("tools") or ()}
            return choice.get("mode", "auto"), allowed
        case kind:
            raise unavailable(f"Tool choice '{kind}' is", param="tool_choice")


def _some(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if value.get(name) is not None}
