"""Summaries that may stand for items: several methods behind one interface, checked alike."""

from typing import Literal, Protocol, TypeAlias

import msgspec

from schemas.http.checks import Fields
from schemas.http.responses import Usage
from services.conversation.history import Item

MethodName: TypeAlias = Literal["summary", "extractive", "upstream"]

NO_USAGE = msgspec.Raw(msgspec.json.encode(Usage()))
"""The provider's count where no provider was asked."""


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """What a summary is to stand for.

    ``items`` are to be told, behind the ``carried`` summary, which is kept as it is. ``sources``
    are what was once said, where ``items`` hold it only as an earlier summary. ``shown`` is the
    beginning of the window up to them, as turns are sent it. For what is told ``tokens_max`` are
    there, and ``tokens_wanted`` are enough. ``parameters`` are those of such turns. ``said`` are
    the user's messages that stay verbatim beside the summary; none where its reader could not be
    told which do.
    """

    items: tuple[Item, ...]
    sources: tuple[Item, ...] = ()
    shown: tuple[Item, ...]
    carried: str = ""
    said: tuple[Item, ...] | None = None
    tokens_max: int
    tokens_wanted: int
    model_name: str
    parameters: Fields = msgspec.field(default_factory=dict)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a method has made, unchecked; no ``text``: nothing that may stand for items.

    ``listed`` are the anchors it names itself. ``sealed`` is a summary that only its maker can
    read, ``tokens`` its size, and ``said`` are the items that have to stay beside it.
    """

    text: str = ""
    listed: tuple[str, ...] = ()
    usage: msgspec.Raw = NO_USAGE
    sealed: str = ""
    tokens: int = 0
    said: tuple[Item, ...] = ()


class Method(Protocol):
    """A way to make summaries."""

    @property
    def name(self) -> MethodName:
        """As settings and the log name it."""

    async def draft(self, covered: Covered) -> Draft:
        """A summary of ``covered``; raises `ModelRefused`, `ModelUnavailable` or `NotCovered`."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand for the items; the carried summary opens its ``text``.

    ``method`` is the one really used, ``fallback`` why it is not the one that was chosen. Of one
    that is ``sealed`` elsewhere the text is not known here. ``said`` stay beside it.
    """

    text: str = ""
    tokens: int = 0
    method: MethodName = "summary"
    fallback: str = ""
    anchors_found: int = 0
    anchors_kept: int = 0
    usage: msgspec.Raw = NO_USAGE
    sealed: str = ""
    said: tuple[Item, ...] = ()


class NotCovered(Exception):
    """Nothing was made that may stand for the items; they stay as they are."""

    def __init__(self, reason: str) -> None:
        """``reason`` is one word, for the log."""
        super().__init__(f"no summary may stand for the items: {reason}")
        self.reason = reason
