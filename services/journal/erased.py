"""Notices that conversations were erased: what a process has of them in memory goes at once.

Whoever misses one, since its connection was away, finds out from the log before it says anything.
"""

from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects

Forget = Callable[[str, str], None]
"""Takes a project and a conversation id."""


async def listen(client: Client, *forgets: Forget) -> None:
    """Have each of these forget what is erased from now on."""

    async def hear(message: Msg) -> None:
        for forget in forgets:
            forget(*subjects.erased_parts(message.subject))

    await client.subscribe(subjects.ALL_ERASED, cb=hear)
