"""``truncation: auto``: a window that is too long loses its oldest items (contract 4.7).

The conversation keeps them; only what the model is sent shrinks.
"""

from collections.abc import Sequence

from services.conversation import pairing
from services.conversation.history import Item


def without_oldest(
    history: Sequence[Item], added: Sequence[Item], *, tokens: int
) -> tuple[Item, ...] | None:
    """``history`` without so many of its oldest items that at least ``tokens`` are saved.

    Cut where a user speaks, or behind everything, and never between a call and what answers it,
    which may be ``added``. A summary at the start stays: it tells what was dropped before. None if
    nothing can be dropped.
    """
    start = 1 if history and history[0].type == "compaction" else 0
    best: int | None = None
    saved = 0
    waiting: set[pairing.Call] = set()
    answers = pairing.answered([*history, *added])
    for index in range(start, len(history) + 1):
        behind = index == len(history)
        if index > start and not waiting and (behind or history[index].role == "user"):
            best = index
            if saved >= tokens:
                break
        if behind:
            break
        item, answer = history[index], answers[index]
        saved += item.tokens
        if call := pairing.call_of(item):
            waiting.add(call)
        elif answer:
            waiting.discard(answer)
    return None if best is None else (*history[:start], *history[best:])
