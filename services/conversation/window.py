"""What the model is sent: compaction, kept items, later items, new input.

The same history gives the same items in the same order, byte for byte: an upstream's prompt cache
depends on it.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest

from services.conversation import pairing
from services.conversation.history import Compaction, Item, Turn
from services.conversation.line import Line
from services.conversation.refusals import DuplicateItem, ReasoningAlone

_OF_CLIENTS = frozenset({"additional_tools", "configuration_update"})
"""Types that clients write, beside answers to calls and messages by their role."""


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
    pairing.check(chain(before, added))


def _answers(item: Item) -> bool:
    """Whether a model wrote it, and not a client."""
    return not (
        item.role in {"user", "system", "developer"}
        or item.type in _OF_CLIENTS
        or pairing.answer_to_call(item)
    )
