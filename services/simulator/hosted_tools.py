"""Hosted tools: which of them are used, and who has to act then. Nothing here runs one."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.simulator.directives import Directives
from services.simulator.entries import Entry
from services.simulator.tool_calls import Choice, is_asked, words_of

Item = dict[str, Any]

KINDS = {
    "web_search": "web_search",
    "web_search_2025_08_26": "web_search",
    "web_search_preview": "web_search",
    "web_search_preview_2025_03_11": "web_search",
    "file_search": "file_search",
    "code_interpreter": "code_interpreter",
    "image_generation": "image_generation",
    "mcp": "mcp",
    "computer": "computer",
    "computer_use_preview": "computer",
    "shell": "shell",
    "local_shell": "local_shell",
    "apply_patch": "apply_patch",
    "tool_search": "tool_search",
    "programmatic_tool_calling": "programmatic_tool_calling",
}
"""Types of tools as requests spell them, and what they are called here."""


class Approval(msgspec.Struct, frozen=True):
    """What the client answered to a ``mcp_approval_request``, which is repeated here."""

    request: Item
    approve: bool


class Offer(msgspec.Struct, frozen=True):
    """What of a request hosted tools depend on."""

    tools: tuple[Item, ...] = ()
    approvals: tuple[Approval, ...] = ()
    listed: frozenset[str] = frozenset()
    """MCP servers whose tools the conversation lists already."""
    deferred: tuple[Item, ...] = ()
    """Tools that a tool search finds."""


NOTHING = Offer()


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a hosted tool; ``tool`` is as it was offered, or empty."""

    kind: str
    failed: bool = False
    tool: Mapping[str, Any] = {}
    said: str = ""
    call_id: str = ""
    approved: Mapping[str, Any] = {}
    """The approval request that was granted."""
    listed: bool = False
    """Whether the conversation lists the tools of this MCP server already."""
    deferred: tuple[Item, ...] = ()

    @property
    def remote(self) -> bool:
        """Whether a shell is in a container of the provider's, and so run by it."""
        environment = self.tool.get("environment") or {}
        return not self.tool or str(environment.get("type")).startswith("container")

    @property
    def waits(self) -> bool:
        """Whether the client has to act, so that the model cannot go on."""
        match self.kind:
            case "computer" | "local_shell" | "apply_patch" | "mcp_approval_request":
                return True
            case "shell":
                return not self.remote
            case "tool_search":
                return self.tool.get("execution") == "client"
            case "mcp":
                return bool(self.tool) and not self.approved and _asks_first(self.tool)
            case _:
                return False


def offer_of(tools: object, given: object) -> Offer:
    """What a request offers; ``given`` is its input."""
    items = given if isinstance(given, list) else ()
    last = items[-1] if items else None
    answered = isinstance(last, dict) and last.get("type") == "mcp_approval_response"
    if not (tools or answered):
        return NOTHING
    hosted = tuple(
        tool
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, dict) and str(tool.get("type")) in KINDS
    )
    if not (hosted or answered):
        return NOTHING
    typed = [item for item in items if isinstance(item, dict)]
    listed = {item.get("server_label") for item in typed if item.get("type") == "mcp_list_tools"}
    return Offer(
        tools=hosted,
        approvals=_approvals(typed) if answered else (),
        listed=frozenset(map(str, listed)),
        deferred=tuple(
            tool
            for tool in (tools if isinstance(tools, list) else ())
            if isinstance(tool, dict)
            and (tool.get("defer_loading") or tool.get("type") == "namespace")
        ),
    )


def mcp_names(tool: Mapping[str, Any]) -> list[str]:
    """The tools of an MCP server that may be called; the first one is."""
    allowed = tool.get("allowed_tools")
    if isinstance(allowed, dict):
        allowed = allowed.get("tool_names")
    return allowed or ["tell"]


def _asks_first(tool: Mapping[str, Any]) -> bool:
    wanted = tool.get("require_approval") or "always"
    if isinstance(wanted, dict):
        freed = (wanted.get("never") or {}).get("tool_names") or ()
        return mcp_names(tool)[0] not in freed
    return bool(wanted != "never")


def _approvals(items: Sequence[Item]) -> tuple[Approval, ...]:
    """The answers at the end of an input, each with its request."""
    requests = {
        item.get("id"): item for item in items if item.get("type") == "mcp_approval_request"
    }
    approvals: list[Approval] = []
    for item in reversed(items):
        if item.get("type") != "mcp_approval_response":
            break
        request = requests.get(item.get("approval_request_id"))
        if request is not None:
            approvals.append(Approval(request, item.get("approve") is True))
    return tuple(reversed(approvals))


def choose(
    entries: Sequence[Entry], directives: Directives, *, offer: Offer, choice: Choice
) -> list[Use]:
    """The uses that were approved, ordered, named or chosen."""
    if choice.mode == "none":
        return []
    if not is_asked(entries):
        return [_granted(one.request, offer) for one in offer.approvals if one.approve]
    if directives.hosted:
        return [
            _use(kind, _offered(kind, offer.tools), offer, directives.rest, failed=failed)
            for kind, failed in directives.hosted
        ]
    words = words_of(directives.rest) if offer.tools else set()
    return [
        _use(KINDS[tool["type"]], tool, offer, directives.rest)
        for tool in offer.tools
        if (words & _names(tool) and (choice.names is None or _names(tool) & {*choice.names}))
        or (choice.mode == "required" and choice.names and _names(tool) & {*choice.names})
    ]


def first(directives: Directives, *, offer: Offer) -> list[Use]:
    """The use of the first tool, for a model that has to use one."""
    return [_use(KINDS[tool["type"]], tool, offer, directives.rest) for tool in offer.tools[:1]]


def _names(tool: Item) -> set[str]:
    return {str(tool["type"]), KINDS[tool["type"]], str(tool.get("server_label", tool["type"]))}


def _use(kind: str, tool: Item, offer: Offer, said: str, *, failed: bool = False) -> Use:
    return Use(
        kind=kind,
        failed=failed,
        tool=tool,
        said=said,
        listed=str(tool.get("server_label")) in offer.listed,
        deferred=offer.deferred,
    )


def _offered(kind: str, tools: Sequence[Item]) -> Item:
    wanted = "mcp" if kind.startswith("mcp_") else kind
    return next((tool for tool in tools if KINDS[tool["type"]] == wanted), {})


def _granted(request: Item, offer: Offer) -> Use:
    label = request.get("server_label")
    tool = next((tool for tool in offer.tools if tool.get("server_label") == label), {})
    return Use(kind="mcp", tool=tool, approved=request, listed=str(label) in offer.listed)
