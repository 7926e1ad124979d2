"""What a channel is: a subject of NATS, or a WebSocket, and what is said on it."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from schemas import openapi, shapes
from schemas.shapes import Shape

COUNT = shapes.text(pattern="^[0-9]+$")
"""Of a header that holds a number."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a channel; ``payload`` is a struct, or the shape of what is none."""

    name: str
    says: str
    payload: type[msgspec.Struct] | Shape
    content_type: str = openapi.JSON
    headers: Mapping[str, Shape] = {}
    optional: Mapping[str, Shape] = {}
    """Headers that are not always there."""


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A subject; ``does`` is what Turnlog does with its messages."""

    address: str
    says: str
    does: Literal["send", "receive"]
    messages: tuple[Message, ...]
    stream: str | None = None
    """The JetStream stream that captures it; without one it is core NATS and kept nowhere."""
    queue: str | None = None
    """The queue group, or durable consumer, that takes its messages."""
    reply: Message | None = None
    """What is answered to the reply subject of a question."""
    back: tuple[Message, ...] = ()
    """What is said in the other direction."""
    server: Literal["nats", "gateway"] = "nats"
