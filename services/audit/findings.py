"""What a check of the log may find."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Rule(StrEnum):
    """The promise that does not hold, in one word."""

    UNREADABLE = "unreadable"
    MISPLACED = "misplaced"
    ALTERED = "altered"
    MISSING = "missing"
    SWAPPED = "swapped"
    FORGED = "forged"
    ORDER = "order"
    VERSION = "version"
    OUTLINE = "outline"
    TURN = "turn"
    ORPHAN = "orphan"
    ERASED = "erased"
    EXPORT = "export"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A promise the log does not keep, and where: a subject and a sequence.

    ``subject`` is empty where nothing says whose a commit was. A ``warning`` may pass by itself.
    """

    subject: str
    sequence: int
    rule: Rule
    says: str
    warning: bool = False


def settled(found: Iterable[Finding], explained: Iterable[Finding]) -> list[Finding]:
    """All findings, in the log's order, without what comes of what was ``explained``.

    Whatever else is odd about a commit that was altered needs no telling.
    """
    causes = list(explained)
    places = {(cause.subject, cause.sequence) for cause in causes}
    others = [each for each in found if (each.subject, each.sequence) not in places]
    return sorted((*others, *causes), key=lambda finding: finding.sequence)
