"""Which tools the model calls, and with what. Nothing here runs one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.simulator.directives import Directives
from services.simulator.entries import Entry

_WORD = re.compile(r"[\w-]+")
_NESTED_MAX = 4
_encode = msgspec.json.Encoder().encode


class Tool(msgspec.Struct, frozen=True):
    """A function the model may call."""

    name: str
    parameters: Mapping[str, Any]


class Choice(msgspec.Struct, frozen=True):
    """``tool_choice`` of either API: how much the model may choose, and among which names."""

    mode: str = "auto"
    names: tuple[str, ...] | None = None


def tools_of(given: object) -> tuple[Tool, ...]:
    """The function tools of a request, flat or nested as Chat has them; others are passed over."""
    tools: list[Tool] = []
    for tool in given if isinstance(given, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "function":
            inner = tool.get("function") or tool
            parameters = inner.get("parameters")
            known = parameters if isinstance(parameters, dict) else {}
            tools.append(Tool(str(inner.get("name")), known))
    return tuple(tools)


def choice_of(given: object) -> Choice:
    """What ``tool_choice`` asks for; hosted tools count as ``auto``."""
    if isinstance(given, str):
        return Choice(given)
    if not isinstance(given, dict):
        return Choice()
    if given.get("type") == "function":
        inner = given.get("function") or given
        return Choice("required", (str(inner.get("name")),))
    if given.get("type") == "allowed_tools":
        inner = given.get("allowed_tools") or given
        allowed = [tool.get("function") or tool for tool in inner.get("tools") or ()]
        return Choice(inner.get("mode") or "auto", tuple(str(one.get("name")) for one in allowed))
    return Choice()


def choose(
    entries: Sequence[Entry], directives: Directives, *, tools: Sequence[Tool], choice: Choice
) -> list[tuple[str, str]]:
    """Names and arguments of the calls to make, none if the model is to answer in words."""
    if choice.mode == "none":
        return []
    asked = bool(entries) and (entries[-1].role, entries[-1].type) == ("user", "message")
    if asked and directives.calls:
        return directives.calls
    offered = [tool for tool in tools if choice.names is None or tool.name in choice.names]
    words = set(_WORD.findall(directives.rest)) if asked and offered else set()
    named = [tool for tool in offered if tool.name in words]
    if choice.mode == "required" and not named:
        named = offered[:1]
    return [(tool.name, _arguments(tool, directives.rest)) for tool in named]


def _arguments(tool: Tool, said: str) -> str:
    return _encode(_example(tool.parameters, said)).decode() if tool.parameters else "{}"


def _example(schema: Mapping[str, Any], said: str, *, depth: int = 0) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            names = schema.get("required") or () if depth < _NESTED_MAX else ()
            return {
                name: _example(properties.get(name) or {}, said, depth=depth + 1) for name in names
            }
        case "array":
            return []
        case "integer" | "number":
            found = re.search(r"\d{1,15}", said)
            return int(found[0]) if found else 1
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return said[:80]
