"""What a turn says while it runs: numbered by its relay, and sent at once if it is streamed."""

import asyncio
from typing import Protocol

from schemas.http.checks import Fields
from services import faults
from services.conversation.history import Item, Turn
from services.conversation.response import render
from services.model import Answer
from services.responder.asked import Asked
from services.responder.relay import Relay

BACKGROUND_OPENING = 3
"""Events that tell of a turn in the background before its model has said anything."""

_DELTA = b'.delta"'


class Deltas(Protocol):
    """Where frames of a running turn go."""

    attempt: int
    """Which attempt to answer the turn they are of."""

    async def put(self, frame: bytes, *, number: int) -> None:
        """Send one frame whose first event has this number, perhaps together with others."""

    async def flush(self) -> None:
        """Send what waits."""


class Telling:
    """One attempt's answer to one turn."""

    def __init__(self, asked: Asked, turn: Turn, relay: Relay, deltas: Deltas) -> None:
        """``relay`` may have told of the turn before."""
        self._asked = asked
        self._turn = turn
        self._relay = relay
        self._deltas = deltas
        self._open = False
        self._said = False
        self._compacting = False
        self.streamed = asked.streamed

    async def event(self, event: Fields) -> None:
        """One event of the upstream."""
        if not self._open:
            await self._begin()
        number = self._relay.number
        await self._deltas.put(self._relay.frame(event), number=number)
        if not self._said and bytes(event["type"]).endswith(_DELTA):
            self._said = True
            await self._deltas.flush()
            # The first token is waited for: it leaves before what has come with it is read.
            await asyncio.sleep(0)

    async def compacting(self, item_id: str) -> None:
        """A summary is being made, to be the item with this id."""
        if not self.streamed:
            return
        if not self._open:
            await self._begin()
        self._compacting = True
        number = self._relay.number
        await self._deltas.put(self._relay.compacting(item_id), number=number)

    async def compacted(self, item: Item) -> None:
        """The summary is made: this item opens the output."""
        if not self.streamed:
            self._relay.put_first(item.raw)
            return
        if not self._compacting:
            await self.compacting(item.id)
        number = self._relay.number
        await self._deltas.put(self._relay.compacted(item.raw), number=number)

    async def closed(self, answer: Answer) -> None:
        """What the upstream left out of its stream, before its answer counts."""
        if not self._open:
            await self._begin()
        number = self._relay.number
        if frames := self._relay.closed(answer):
            await self._deltas.put(frames, number=number)

    async def flush(self) -> None:
        """Send what waits."""
        await self._deltas.flush()

    async def _begin(self) -> None:
        # Put off until something is sure to be told: an error until here is plain HTTP.
        self._open = True
        faults.point("model_called")
        if self._relay.number == BACKGROUND_OPENING:
            # An earlier attempt has got as far as this.
            return
        number = self._relay.number
        response = render(self._turn, conversation_id=self._asked.request.conversation_id)
        begun = self._relay.begun if self._asked.create.background else self._relay.opened
        await self._deltas.put(begun(response), number=number)
