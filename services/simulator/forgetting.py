"""How a summariser forgets: each telling loses details, and a summary has only so much room.

Real models do both. Of the details they are shown some are left out each time, whoever said them
and however often they were told before; and they write about as much, however much they read. The
room decides for no detail by its place: which ones go depends on nothing but their own words and
on all that was shown, so that the same request always has the same answer, and a detail that is
told again and again is in danger each time.
"""

import hashlib
import re
from collections.abc import Iterable

FORGOTTEN_SHARE = 0.1
"""Share of the details that one telling leaves out."""
LENGTH_MAX = 4_000
"""Characters of a summary, about a thousand tokens, however long its source is."""
DETAILS_SHARE = 0.75
"""Share of the room that details may take."""
GAP = "…"
"""What is told in place of a detail that was forgotten."""
_SEPARATOR_LENGTH = 2


class Memory:
    """What one telling remembers of some details."""

    def __init__(self, details: Iterable[str], *, seed: str, length_max: int) -> None:
        """``seed`` stands for all that is shown; ``length_max`` is the room of the telling."""
        details = tuple(details)
        danger = {detail: _share(seed, detail) for detail in details}
        room = int(length_max * DETAILS_SHARE)
        remembered: set[str] = set()
        for detail in sorted(details, key=danger.__getitem__, reverse=True):
            room -= len(detail) + _SEPARATOR_LENGTH
            if danger[detail] < FORGOTTEN_SHARE or room < 0:
                break
            remembered.add(detail)
        self.kept = {detail: None for detail in details if detail in remembered}
        """Details that are remembered, in their order."""
        lost = sorted(set(details) - remembered, key=lambda detail: (-len(detail), detail))
        self._lost = re.compile("|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in lost))
        self._forgets = bool(lost)

    def told(self, clause: str) -> str:
        """``clause`` as it is told: a detail that is forgotten is in no sentence either."""
        return self._lost.sub(GAP, clause) if self._forgets else clause


def _share(seed: str, detail: str) -> float:
    """A number from 0 to 1 that is as good as drawn, and always the same."""
    drawn = hashlib.sha256(f"{seed} {detail}".encode()).digest()[:8]
    return int.from_bytes(drawn) / (1 << 64)
