"""Requests that are sent again: by their client with a key, or by the SDK without one.

A key is claimed. Without one a request is known by what it is: the SDK repeats a request whose
answer it never had, up to ten minutes later, and counts the repeats in a header (contract 0.1,
0.2). The first of them leaves a mark on the stream REPEATS, with the ids its effect has or will
have; a repeat finds the mark and asks for the same once more.

Turns and added items are marked so, conversations are not: two users of one application may well
create equal ones, and neither may ever be given the other's.
"""

import asyncio
import hashlib
import re

import structlog
from nats.aio.client import Client
from starlette.requests import Request

from schemas import claims, repeats, subjects
from schemas.claims import Claim
from schemas.repeats import Mark
from services import ids
from services.journal import JournalUnavailable
from services.journal.claims import Claims
from services.journal.publishing import MESSAGE_ID, publish
from services.journal.reading import Reader
from services.journal.vault import Vault

log = structlog.get_logger()

STORE_S_MAX = 600.0
"""Seconds for which a mark is tried to be stored: as long as the SDK waits for an answer."""
DIGEST_DIGITS = 32
"""Hex digits by which a request is told from others."""
COUNT_HEADER = "X-Stainless-Retry-Count"
_REPEATED = re.compile("[1-9][0-9]{0,2}")
"""Counts of a request that is not the first; whatever else stands there is no client's count."""


class Repeats:
    """Marks and claims of the requests of all gateways."""

    def __init__(self, client: Client, vault: Vault | None = None, *, wait_s: float = 5.0) -> None:
        """``vault`` lets nobody guess requests; ``wait_s`` bounds the search for a mark."""
        self._client = client
        self._vault = vault
        self._claims = Claims(client, vault, wait_s=wait_s)
        self._reader = Reader(client, wait_s=wait_s)
        self._leaving: dict[str, Mark] = {}
        self._storing: set[asyncio.Task[None]] = set()

    async def claim(
        self, request: Request, project: str, payload: bytes, fresh: Mark, *, key: str
    ) -> tuple[Mark, bool]:
        """What a key stands for, and whether for an earlier request; else ``fresh`` is it now.

        Raises `KeyReused`, or `JournalUnavailable`.
        """
        wanted = Claim(
            id=fresh.id,
            conversation_id=fresh.conversation_id,
            fingerprint=claims.fingerprint(request.method, request.url.path, payload),
        )
        held = (await self._claims.claim(project, key, wanted)).claim
        return Mark(id=held.id, conversation_id=held.conversation_id), held.id != fresh.id

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
        subject = await self._subject(request, project, payload)
        if _REPEATED.fullmatch(count):
            mark = self._leaving.get(subject) or await self._found(subject)
            if mark is not None:
                return mark, True
        await self._leave(subject, fresh)
        return fresh, False

    async def renew(self, request: Request, project: str, payload: bytes, fresh: Mark) -> None:
        """Let ``fresh`` be the mark of a request: what it came to before is not what is wanted."""
        await self._leave(await self._subject(request, project, payload), fresh)

    async def _subject(self, request: Request, project: str, payload: bytes) -> str:
        """Where the mark of a request is."""
        digest = _digest(request, payload)
        if self._vault is not None:
            digest = await self._vault.digest(project, digest.encode())
        return subjects.repeat(project, digest[:DIGEST_DIGITS])

    async def _found(self, subject: str) -> Mark | None:
        found = await self._reader.last(subjects.REPEATS, subject)
        return None if found is None else repeats.decode(found.data)

    async def _leave(self, subject: str, mark: Mark) -> None:
        # Nobody waits for it to be stored.
        if self._reader.is_alone(subjects.REPEATS):
            await self._client.publish(subject, repeats.encode(mark))
            return
        # A stream that has lost its leader takes nothing, and its clients are about to ask again.
        self._leaving[subject] = mark
        storing = asyncio.create_task(self._store(subject, mark))
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)

    async def _store(self, subject: str, mark: Mark) -> None:
        headers = {MESSAGE_ID: ids.unique()}
        payload = repeats.encode(mark)
        try:
            await publish(self._client, subject, payload, headers, wait_s=STORE_S_MAX)
            await self._reader.learn(subjects.REPEATS)
        except JournalUnavailable as error:
            log.warning("mark.lost", error=str(error))
        finally:
            if self._leaving.get(subject) is mark:
                del self._leaving[subject]


def _digest(request: Request, payload: bytes) -> str:
    told = hashlib.sha256(payload)
    for part in (request.method, request.url.path, request.headers.get("Authorization", "")):
        told.update(b"\0" + part.encode())
    return told.hexdigest()
