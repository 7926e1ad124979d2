"""Calls that wait for a client, and the items that answer them (contract 4.6).

Calls of hosted tools are not among them: who runs the tool puts its result into the same item, or
an item of its own behind it, and no client is asked.
"""

from collections.abc import Iterable, Sequence

from services.conversation.history import Item
from services.conversation.refusals import ToolCallMissing, ToolOutputMissing

ANSWERED_BY = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "local_shell_call": "local_shell_call_output",
    # Where the server searches, neither has a call id here.
    "tool_search_call": "tool_search_output",
    "mcp_approval_request": "mcp_approval_response",
}
"""Types of calls, and of what answers them."""

_ANSWERS = {answer: call for call, answer in ANSWERED_BY.items()}
_PAIRED = ANSWERED_BY.keys() | _ANSWERS.keys()
_NAMELESS = frozenset({"function_call_output", "local_shell_call_output"})
"""Answers that need not name their call."""

Call = tuple[str, str]
"""Type of a call, and what its answer names it by."""


def call_of(item: Item) -> Call | None:
    """The call an item is, if a client must answer it."""
    if item.call_id is None or item.type not in ANSWERED_BY:
        return None
    return item.type, item.call_id


def answer_to_call(item: Item) -> bool:
    """Whether a client writes such items to answer a call."""
    return item.type in _ANSWERS


def answered(items: Sequence[Item]) -> list[Call | None]:
    """For each item the call it answers: the one it names, else the first of its kind left over."""
    found = [_named(item) for item in items]
    named = set(found)
    waiting = [call for item in items if (call := call_of(item)) and call not in named]
    for index, item in enumerate(items):
        if item.call_id is None and item.type in _NAMELESS:
            kind = _ANSWERS[item.type]
            call = next((call for call in waiting if call[0] == kind), None)
            if call is not None:
                found[index] = call
                waiting.remove(call)
    return found


def check(window: Iterable[Item]) -> None:
    """Refuse a window with a call that nothing answers, or an answer to no call."""
    items = [item for item in window if item.type in _PAIRED]
    # Dicts and not sets: the first one missing is named, and that must not vary.
    calls = dict.fromkeys(call for item in items if (call := call_of(item)))
    answers = answered(items)
    for item, answer in zip(items, answers, strict=True):
        if answer is not None and answer not in calls:
            raise ToolCallMissing(answer[1], answer=item.type)
    settled = set(answers)
    for call in calls:
        if call not in settled:
            raise ToolOutputMissing(call[1], call=call[0])


def _named(item: Item) -> Call | None:
    kind = _ANSWERS.get(item.type)
    return None if kind is None or item.call_id is None else (kind, item.call_id)
