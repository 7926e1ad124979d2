"""What of a conversation a fork takes along: all that its next window is made of, and no more.

Items that have left the line stay behind, so positions are counted anew. Turns stay as well: the
items they brought are on the line, and their responses are found where they were.
"""

from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from schemas.events import ConversationForked, ForkedCompaction
from services.conversation.state import Conversation

_encode = msgspec.json.Encoder().encode
_BESIDE_ITEM = 24
"""Bytes an item needs at most beside its own: its size in tokens, and commas."""


def parts(
    state: Conversation, *, origin: str, sequence: int, digest: str, bytes_max: int
) -> Iterator[ConversationForked]:
    """The events of a fork, each of ``bytes_max`` bytes at most where no one item has more."""
    positions = [p for p in range(len(state.line)) if p not in state.removed]
    items = list(state.listed(0, descending=False))
    standing = {item.id for item in items}
    compactions = [
        ForkedCompaction(
            item_id=done.item.id,
            summary=done.summary,
            covered=bisect_left(positions, done.covered),
            kept=tuple(item_id for item_id in done.kept if item_id in standing),
            crossed=done.crossed,
        )
        for done in state.compactions
    ]
    empty = ConversationForked(
        origin=origin,
        sequence=sequence,
        digest=digest,
        metadata=state.metadata,
        items=(),
        tokens=(),
        window_tokens=state.tokens,
        crossed=state.crossed,
        budget=state.budget,
        more=True,
    )
    while True:
        room = bytes_max - len(_encode(empty))
        taken = _fitting([len(item.raw) + _BESIDE_ITEM for item in items], room)
        here, items = items[:taken], items[taken:]
        room -= sum(len(item.raw) + _BESIDE_ITEM for item in here)
        # A summary can only be told once its item is there, and never instead of an item.
        sizes = [] if items else [len(_encode(done)) + 1 for done in compactions]
        told = _fitting(sizes, room, least=0 if here else 1)
        yield msgspec.structs.replace(
            empty,
            items=tuple(item.raw for item in here),
            tokens=tuple(item.tokens for item in here),
            compactions=tuple(compactions[:told]),
            more=bool(items or compactions[told:]),
        )
        compactions = compactions[told:]
        if not items and not compactions:
            return


def _fitting(sizes: list[int], room: int, *, least: int = 1) -> int:
    """How many fit, from the first on; ``least`` of them whether or not they do."""
    for count, size in enumerate(sizes):
        room -= size
        if room < 0 and count >= least:
            return count
    return len(sizes)
