"""What the model is sent: compaction, kept items, later items, new input.

The same history gives the same items in the same order, byte for byte: an upstream's prompt cache
depends on it.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from services.conversation.history import Compaction, Item, Turn
from services.conversation.line import Line
from services.conversation.refusals import (
    DuplicateItem,
    ReasoningAlone,
    ToolCallMissing,
    ToolOutputMissing,
)


def of_line(
    line: Line[Item],
    *,
    removed: frozenset[int],
    compactions: Sequence[Compaction],
    end: int,
) -> tuple[Item, ...]:
    """Items of the line as it was at length ``end``, from its newest compaction on."""
    newest = next((c for c in reversed(compactions) if c.position < end), None)
    start = newest.covered if newest else 0
    before: list[Item] = []
    if newest:
        before.append(newest.item)
        before += [
            item
            for item_id in newest.kept
            if (item := line.get(item_id)) is not None
            and (position := line.position(item_id)) is not None
            and position < start
            and position not in removed
        ]
    superseded = {c.position for c in compactions}
    later = (
        item
        for position, item in enumerate(line.between(start, end), start)
        if position not in removed and position not in superseded
    )
    return (*before, *later)


def of_chain(turns: Line[Turn], parent: str) -> tuple[Turn, ...]:
    """The turns that lead to ``parent``, oldest first; stops below a turn of the line."""
    walked: list[Turn] = []
    following: str | None = parent
    while following is not None:
        turn = turns.get(following)
        if turn is None:
            break
        walked.append(turn)
        following = None if turn.on_line else turn.parent
    return tuple(reversed(walked))


def check(before: Sequence[Item], added: Sequence[Item]) -> None:
    """Refuse input that repeats an item or leaves a tool call without its output, or the reverse.

    Pairing holds over the whole window (contract 4.6).
    """
    known = {item.id for item in before}
    for item in added:
        if item.id in known:
            raise DuplicateItem(item.id)
        known.add(item.id)
    for item, following in zip_longest(added, added[1:]):
        if item.type == "reasoning" and (following is None or not _answers(following)):
            raise ReasoningAlone(item.id)
    calls = _call_ids(before, added, suffix="_call")
    outputs = _call_ids(before, added, suffix="_call_output")
    for call_id in outputs:
        if call_id not in calls:
            raise ToolCallMissing(call_id)
    for call_id in calls:
        if call_id not in outputs:
            raise ToolOutputMissing(call_id)


def _answers(item: Item) -> bool:
    """Whether a model wrote it, and not a client."""
    return item.role not in {"user", "system", "developer"} and not item.type.endswith("_output")


def _call_ids(*parts: Iterable[Item], suffix: str) -> dict[str, None]:
    # A dict and not a set: the first one missing is named, and that must not vary.
    return {
        item.call_id: None
        for part in parts
        for item in part
        if item.call_id is not None and item.type.endswith(suffix)
    }
