"""What an operation of the HTTP contract is: a method of a path."""

from collections.abc import Mapping

import msgspec

from schemas.http.beside import Parameter


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that an answer leads to, its parameters taken from request or answer."""

    operation: str
    parameters: Mapping[str, str]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A method of a path.

    ``body`` and ``answer`` are components; ``streams``: the answer may be server-sent events;
    ``arrow``: it may be an Arrow IPC stream; ``lines``: it is JSON lines; ``stands``: it says at
    which sequence of the log it stands. ``refusals``: statuses of error bodies, beside the faults
    that any operation may answer with.
    """

    id: str
    method: str
    path: str
    tag: str
    says: str
    more: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: str | None = None
    body_needed: bool = True
    answer: str
    streams: bool = False
    arrow: bool = False
    lines: bool = False
    stands: bool = True
    refusals: tuple[int, ...] = ()
    links: tuple[Link, ...] = ()

    def route(self) -> tuple[str, str]:
        """What tells it from every other operation."""
        return self.method, self.path


FAULTS = (500, 503)
"""Statuses any operation may answer with."""
BODY_FAULTS = (408, 429)
"""Statuses any operation may answer with that reads a body."""
