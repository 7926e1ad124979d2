"""What a running turn says on `subjects.delta`: server-sent events, encoded once.

The payload is ready for the wire; the headers say what it is, so that nobody on the way decodes it.
"""

import msgspec

KIND_HEADER = "Turnlog-Kind"
"""`EVENTS`, `CONTEXT`, `END`, `REFUSAL`, `REPEAT` or `ATTEMPT`."""
EVENTS = "events"
"""Payload: one or more events, more to come."""
CONTEXT = "context"
"""Payload: a `schemas.turn_requests.Context`, what the turn leaves to one that follows. Only of
turns that are not stored, only if the request asked for it, and before the end."""
END = "end"
"""Payload: the terminal event alone; the turn is in the log."""
REFUSAL = "refusal"
"""Payload: an error body; the model was not called, or refused. Nothing follows."""

REPEAT = "repeat"
"""Payload: a `Repeat`; the request was made before, under another response id. Nothing follows."""
ATTEMPT = "attempt"
"""No payload: a request was delivered again. If it names an attempt, events of earlier ones count
only if they come before it."""

ATTEMPT_HEADER = "Turnlog-Attempt"
"""Which attempt to answer the turn a message is of; absent: the first."""
FIRST_HEADER = "Turnlog-First"
"""``sequence_number`` of the payload's first event."""
STATUS_HEADER = "Turnlog-Status"
"""HTTP status of a refusal."""
RETRY_AFTER_HEADER = "Turnlog-Retry-After"
"""Seconds after which a refused request may be sent again, where that is known."""
SEQUENCE_HEADER = "Turnlog-Sequence"
"""Stream sequence at which the end of the turn is stored."""


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """Where a repeated request is answered: listen to, or read, the response of the first."""

    response_id: str
