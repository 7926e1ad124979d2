"""Requests the SDK sends again by itself, known by what they are: it sends no key with them.

The SDK repeats a request whose answer it never had, up to ten minutes later, and counts the
repeats in a header (contract 0.1, 0.2). The first of them leaves a mark on the stream REPEATS, with
the ids its effect has or will have; a repeat finds the mark and asks for the same once more.

Turns and added items are repeated so, conversations are not: two users of one application may well
create equal ones, and neither may ever be given the other's.
"""

import hashlib
import re

from nats.aio.client import Client
from starlette.requests import Request

from schemas import repeats, subjects
from schemas.repeats import Mark
from services.journal.reading import Reader

COUNT_HEADER = "X-Stainless-Retry-Count"
_REPEATED = re.compile("[1-9][0-9]{0,2}")
"""Counts of a request that is not the first; whatever else stands there is no client's count."""


class Repeats:
    """Marks of the requests of all gateways."""

    def __init__(self, client: Client, *, wait_s: float = 5.0) -> None:
        """``wait_s`` bounds the search for a mark."""
        self._client = client
        self._reader = Reader(client, wait_s=wait_s)

    async def recall(
        self, request: Request, project: str, payload: bytes, fresh: Mark
    ) -> tuple[Mark, bool]:
        """The mark of a request, and whether it is an earlier one's; else ``fresh`` becomes it.

        The mark is on its way before anything that is sent on the same connection afterwards.
        Raises `JournalUnavailable`.
        """
        count = request.headers.get(COUNT_HEADER)
        if count is None:
            return fresh, False
        subject = subjects.repeat(project, _digest(request, payload))
        if _REPEATED.fullmatch(count):
            found = await self._reader.last(subjects.REPEATS, subject)
            if found is not None:
                return repeats.decode(found.data), True
        await self._leave(subject, fresh)
        return fresh, False

    async def renew(self, request: Request, project: str, payload: bytes, fresh: Mark) -> None:
        """Let ``fresh`` be the mark of a request: what it came to before is not what is wanted."""
        await self._leave(subjects.repeat(project, _digest(request, payload)), fresh)

    async def _leave(self, subject: str, mark: Mark) -> None:
        # Nobody waits for it to be stored: a mark that is lost makes a repeat a new request.
        await self._client.publish(subject, repeats.encode(mark))


def _digest(request: Request, payload: bytes) -> str:
    told = hashlib.sha256(payload)
    for part in (request.method, request.url.path, request.headers.get("Authorization", "")):
        told.update(b"\0" + part.encode())
    return told.hexdigest()[:32]
