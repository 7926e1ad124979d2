"""From messages of the log to the columns that are inserted: all that needs no database.

It runs beside the transaction before it, on a thread of its own.
"""

from collections.abc import Sequence

import duckdb
import msgspec
import pyarrow as pa

from schemas.events import ConversationErased
from schemas.upcasters import EventUnknown
from services.projector import facts, view
from services.projector.facts import Message, Running
from services.projector.views import VIEWS

UNREADABLE = (
    msgspec.MsgspecError,
    EventUnknown,
    facts.OutlineMissing,
    ValueError,
    OverflowError,
    duckdb.DataError,
)
"""What is raised for bytes that are no commit, or whose values fit no column."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A batch: columns by view and statement, and what holds once they are inserted.

    ``events`` counts what the messages hold. ``error`` is set, and nothing else but the messages
    means anything, if one is unreadable.
    """

    messages: Sequence[Message]
    sequence: int
    running: Running
    columns: dict[tuple[str, str], pa.Table] = {}
    events: int = 0
    erases: bool = False
    """Whether it takes rows away for good."""
    error: Exception | None = None


def prepare(messages: Sequence[Message], *, after: int, running: Running) -> Prepared:
    """The batch of those ``messages`` that come after a sequence at which turns were running.

    Known messages are left out, and so is what came twice.
    """
    fresh, last = [], after
    for message in messages:
        if message.sequence > last:
            fresh.append(message)
            last = message.sequence
    if not fresh:
        return Prepared(messages=(), sequence=after, running=running)
    try:
        batch = facts.read(fresh, running)
        columns = {}
        for each in VIEWS:
            changes = each.changes(batch)
            for name, schema in each.INCOMING.items():
                if changes[name]:
                    columns[view.name(each), name] = view.columns(changes[name], schema)
    except UNREADABLE as error:
        return Prepared(messages=fresh, sequence=last, running=running, error=error)
    return Prepared(
        messages=fresh,
        sequence=last,
        running=batch.running,
        columns=columns,
        events=len(batch.facts),
        erases=any(isinstance(fact.event, ConversationErased) for fact in batch.facts),
    )
