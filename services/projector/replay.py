"""Views built from the log into a file of their own, to be held against others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import nats.errors

from schemas import subjects
from schemas.queries import Digest, DigestAnswer
from services.journal import connect
from services.projector import file_keys
from services.projector.database import Database
from services.projector.digest import digest
from services.projector.files import remove
from services.projector.generation import SEQUENCE
from services.projector.log_client import LogClient
from services.projector.projection import Projection
from services.projector.settings import ProjectorSettings

CONNECT_S = 2
CATCH_UP_S = 30.0
"""Seconds the projector is given to come to where a replay is."""
DIGEST_S_MAX = 600.0
"""Seconds it is given to read all of its tables."""


class ReplayStopped(Exception):
    """A commit cannot be projected, or the log is not the one it was."""


class Replay:
    """A fresh file at the way to the end of the log; nothing is left out on it."""

    def __init__(self, client: LogClient, path: Path, settings: ProjectorSettings) -> None:
        """``path`` must not exist."""
        self.client = client
        self._database = Database(path, settings, file_keys.given(settings)[0])
        self.projection = Projection(client, self._database, settings, park=None)
        self._running = asyncio.create_task(self.projection.run())

    async def last_sequence(self) -> int:
        """Where the log ends now."""
        info = await self.client.jetstream().stream_info(subjects.CONVERSATIONS)
        return info.state.last_seq

    async def reached(self, sequence: int, *, wait_s: float) -> bool:
        """Whether it is there, now or within ``wait_s`` seconds, and goes no further.

        Raises `ReplayStopped`.
        """
        self.projection.end_at(sequence)
        if await self.projection.reached(sequence, wait_s=wait_s):
            return True
        if self.projection.stopped:
            raise ReplayStopped(self.projection.stopped)
        if self.client.is_closed:
            raise ReplayStopped("the log cannot be reached any more")
        if self._running.done():
            self._running.result()
        return False

    async def live_digest(self, *, sequence: int) -> DigestAnswer | None:
        """What the projector has at a sequence or later; none where none runs."""
        question = msgspec.json.encode(Digest(sequence=sequence, wait_s=CATCH_UP_S))
        try:
            answer = await self.client.request(
                subjects.ask("digest"), question, timeout=DIGEST_S_MAX
            )
        except nats.errors.NoRespondersError:
            return None
        return msgspec.json.decode(answer.data, type=DigestAnswer)

    async def digest(self) -> DigestAnswer:
        """What is in it."""
        tables = await asyncio.to_thread(digest, self._database.cursor())
        return DigestAnswer(sequence=int(tables.pop(SEQUENCE)), tables=tables)

    async def close(self) -> None:
        """Let go of the file."""
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        await asyncio.to_thread(self._database.close)


@asynccontextmanager
async def replaying(path: Path, settings: ProjectorSettings) -> AsyncIterator[Replay]:
    """A replay into ``path``, which is there only once all has gone well."""
    part = path.with_name(f"{path.name}.part")
    remove(part)
    client = LogClient()
    # Tried once: who waits for it is told, and can begin again.
    once = {"allow_reconnect": False, "max_reconnect_attempts": 1, "connect_timeout": CONNECT_S}
    options = connect.options(settings.nats_url, name="replay", tls=settings.tls())
    await client.connect(**options | once)
    try:
        replay = Replay(client, part, settings)
        try:
            yield replay
        finally:
            await replay.close()
        part.rename(path)
    finally:
        remove(part)
        await client.close()
