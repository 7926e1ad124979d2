"""The message that asks for a turn, over HTTP and from any backend on the queue alike.

Publish it to `subjects.turn_request` with the response id as ``Nats-Msg-Id``; first subscribe to
`subjects.delta`, where refusal, deltas and the end arrive (`schemas.deltas`).
"""

from datetime import datetime
from typing import Any

import msgspec

QUEUE = "queue"
"""Overlap: wait for the turns before it, in order of acceptance."""
REJECT = "reject"
"""Overlap: be refused at once when the conversation is busy."""
INTERRUPT = "interrupt"
"""Overlap: have the turn that runs end as cancelled, and be the next, before those that wait."""
OVERLAPS = (QUEUE, REJECT, INTERRUPT)


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a response leaves to one that follows: its model, and stored forms of all its items."""

    model: str
    items: tuple[msgspec.Raw, ...]


class TurnRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn to run.

    ``body`` is the body of ``POST /v1/responses``. ``response_id`` is minted by the asker: for a
    conversation's turn any id that carries the conversation's digits, for a fresh one that of a
    conversation id minted with it. ``overlap`` says what happens when the conversation is busy:
    `QUEUE`, `REJECT` or `INTERRUPT`.
    ``request_id`` is an idempotency key, for turns that are stored: two requests with the same one
    are one turn, whatever their response ids. A request that is not admitted by ``expires_at`` is
    refused: the turn is then never run.

    ``generate`` false: the model is not called, and the turn ends at once without output. The other
    two are for turns of which nothing is stored. ``before``: what the previous response has left,
    which then is not looked for in the log. ``tells_context``: what the turn itself leaves is told
    before its end.
    """

    response_id: str
    conversation_id: str
    body: msgspec.Raw
    overlap: str = QUEUE
    asked_at: datetime | None = None
    request_id: str | None = None
    expires_at: datetime | None = None
    generate: bool = True
    before: Context | None = None
    tells_context: bool = False

    @property
    def on_line(self) -> bool:
        """Whether it is for a turn on a conversation's line, of which one runs at a time."""
        try:
            return _decode_target(self.body).conversation is not None
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            # Whoever reads all of it says what is wrong with it.
            return False


def queues(request: TurnRequest) -> bool:
    """Whether a request waits for those before it."""
    return request.overlap == QUEUE and request.on_line


def promised(request: TurnRequest, *, background: bool, store: bool) -> bool:
    """Whether its asker is told that it waits, and may look for its response from then on."""
    return background and store and queues(request)


class _Target(msgspec.Struct):
    conversation: Any = None


_decode_target = msgspec.json.Decoder(_Target).decode
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TurnRequest).decode


def encode(request: TurnRequest) -> bytes:
    """The message's bytes."""
    return _encode(request)


def decode(payload: bytes) -> TurnRequest:
    """The request in a message; raises `msgspec.DecodeError` for anything else."""
    return _decode(payload)
