"""Which tools the model calls, and with what. Nothing here runs one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.simulator.directives import Directives
from services.simulator.entries import Entry
from services.simulator.examples import example_of

_WORD = re.compile(r"[\w-]+")
_encode = msgspec.json.Encoder().encode


class Tool(msgspec.Struct, frozen=True):
    """A function the model may call, or a custom tool, which takes any text."""

    name: str
    parameters: Mapping[str, Any] = {}
    custom: bool = False
    namespace: str | None = None


class Choice(msgspec.Struct, frozen=True):
    """``tool_choice`` of either API: how much the model may choose, and among which names.

    A hosted tool's name is its type.
    """

    mode: str = "auto"
    names: tuple[str, ...] | None = None


class Chosen(msgspec.Struct, frozen=True):
    """A tool to call, and its arguments or input."""

    name: str
    text: str
    custom: bool = False
    namespace: str | None = None


def tools_of(given: object, *, namespace: str | None = None) -> tuple[Tool, ...]:
    """The function and custom tools of a request, flat or nested as Chat has them."""
    tools: list[Tool] = []
    for tool in given if isinstance(given, list) else ():
        match tool:
            case {"type": "function" | "custom" as kind}:
                inner = tool.get(kind) or tool
                parameters = inner.get("parameters")
                known = parameters if isinstance(parameters, dict) else {}
                tools.append(Tool(str(inner.get("name")), known, kind == "custom", namespace))
            case {"type": "namespace", "name": str(name), "tools": inner}:
                tools.extend(tools_of(inner, namespace=name))
            case _:
                pass
    return tuple(tools)


def choice_of(given: object) -> Choice:
    """What ``tool_choice`` asks for."""
    if isinstance(given, str):
        return Choice(given)
    if not isinstance(given, dict):
        return Choice()
    if given.get("type") != "allowed_tools":
        return Choice("required", (_name(given),))
    inner = given.get("allowed_tools") or given
    allowed = tuple(_name(tool) for tool in inner.get("tools") or ())
    return Choice(inner.get("mode") or "auto", allowed)


def _name(tool: Mapping[str, Any]) -> str:
    """What a choice names: a function or custom tool by its name, a hosted one by its type."""
    kind = str(tool.get("type"))
    if kind in ("function", "custom"):
        return str((tool.get(kind) or tool).get("name"))
    return kind


def choose(
    entries: Sequence[Entry],
    directives: Directives,
    *,
    tools: Sequence[Tool],
    choice: Choice,
    required: bool,
) -> list[Chosen]:
    """The calls to make, none if the model is to answer in words; at least one if required."""
    if choice.mode == "none":
        return []
    asked = is_asked(entries)
    if asked and directives.calls:
        return [_ordered(name, text, tools) for name, text in directives.calls]
    offered = [tool for tool in tools if choice.names is None or tool.name in choice.names]
    words = words_of(directives.rest) if asked and offered else set()
    named = [tool for tool in offered if tool.name in words]
    if required and not named:
        named = offered[:1]
    return [_called(tool, directives.rest) for tool in named]


def is_asked(entries: Sequence[Entry]) -> bool:
    """Whether a user spoke last, and not a tool."""
    return bool(entries) and (entries[-1].role, entries[-1].type) == ("user", "message")


def words_of(text: str) -> set[str]:
    """The words among which the model looks for names of tools."""
    return set(_WORD.findall(text))


def _ordered(name: str, text: str, tools: Sequence[Tool]) -> Chosen:
    for tool in tools:
        if tool.name == name:
            text = text if tool.custom else text or "{}"
            return Chosen(name, text, tool.custom, tool.namespace)
    custom = bool(text) and not text.startswith("{")
    return Chosen(name, text or "{}", custom)


def _called(tool: Tool, said: str) -> Chosen:
    text = said if tool.custom else _arguments(tool, said)
    return Chosen(tool.name, text, tool.custom, tool.namespace)


def _arguments(tool: Tool, said: str) -> str:
    return _encode(example_of(tool.parameters, said)).decode() if tool.parameters else "{}"
