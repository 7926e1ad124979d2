"""What the model is sent: compaction, kept items, later items, new input.

The same history gives the same items in the same order, byte for byte: an upstream's prompt cache
depends on it.
"""

from collections.abc import Container, Iterator, Sequence
from itertools import chain, zip_longest

from schemas.events import TurnCompaction
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


def of_chain(
    turns: Line[Turn], parent: str, *, summarised: Container[str] = ()
) -> tuple[Turn, ...]:
    """The turns that lead to ``parent``, oldest first.

    The first is one of the line, or the newest of those whose own summary tells what came before.
    """
    walked: list[Turn] = []
    for turn in _ancestors(turns, parent):
        walked.append(turn)
        if turn.on_line or turn.id in summarised:
            break
    return tuple(reversed(walked))


def _ancestors(turns: Line[Turn], parent: str | None) -> Iterator[Turn]:
    """The turn of an id, the one it follows, and so on."""
    below = len(turns)
    while parent is not None:
        position, turn = turns.position(parent), turns.get(parent)
        # Whom a turn follows had ended before it; whatever a log holds, a walk comes to its end.
        if position is None or turn is None or position >= below:
            return
        yield turn
        below, parent = position, turn.parent


def of_summarised(
    turn: Turn, done: TurnCompaction, *, line: Line[Item], turns: Line[Turn]
) -> tuple[Item, ...]:
    """What a turn off the line that was summarised leaves for those that follow it."""
    summary = tuple(item for item in turn.output if item.id == done.item_id)
    kept = _earlier(done.kept, turn, line=line, turns=turns)
    return (*summary, *kept, *turn.input[done.covered :], *turn.answer)


def _earlier(
    wanted: Sequence[str], turn: Turn, *, line: Line[Item], turns: Line[Turn]
) -> tuple[Item, ...]:
    """Items of the chain before a turn, or of the line beneath it, by their ids."""
    found = {item_id: item for item_id in wanted if (item := line.get(item_id)) is not None}
    for ancestor in _ancestors(turns, turn.parent):
        if len(found) == len(wanted):
            break
        found.update({i.id: i for i in (*ancestor.input, *ancestor.output) if i.id in wanted})
    return tuple(found[item_id] for item_id in wanted if item_id in found)


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
        if item.type == "reasoning" and (following is None or not by_model(following)):
            raise ReasoningAlone(item.id)
    pairing.check(chain(before, added))


def by_model(item: Item) -> bool:
    """Whether a model wrote it, and not a client."""
    return not (
        item.role in {"user", "system", "developer"}
        or item.type in _OF_CLIENTS
        or pairing.answer_to_call(item)
    )
