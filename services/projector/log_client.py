"""A NATS connection that can listen at the rate a log is replayed.

nats-py parses headers, builds a message and wakes a task for each one it receives: 12 µs, half of
what a projection may cost altogether. A tap is called with the bytes, from where they are parsed.
"""

import asyncio
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.subscription import Subscription

Tap = Callable[[bytes, bytes, bytes], None]
"""Reply subject, header block and payload of a message. It may not raise."""


class LogClient(Client):
    """The nats-py client, and taps. Reconnects keep them."""

    def __init__(self) -> None:
        """Not connected yet."""
        super().__init__()
        self._taps: dict[int, Tap] = {}

    async def tap(self, subject: str, tap: Tap) -> Subscription:
        """Call ``tap`` for every message on ``subject`` until `untap`."""
        # With a future nats-py starts no task for the subscription; it is never resolved.
        subscription = await self.subscribe(subject, future=asyncio.Future())
        self._taps[subscription._id] = tap  # noqa: SLF001 - nats-py has no public name for it
        return subscription

    async def untap(self, subscription: Subscription) -> None:
        """Call its tap no more, even if the connection is lost."""
        self._taps.pop(subscription._id, None)  # noqa: SLF001 - as above
        if self.is_connected:
            await subscription.unsubscribe()
        else:
            self._remove_sub(subscription._id)  # noqa: SLF001 - as above

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        tap = self._taps.get(sid)
        if tap is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            tap(reply, headers or b"", data)
