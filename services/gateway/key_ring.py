"""Who comes in with which API key: every record of the log's bucket, held in memory.

A key that was verified once costs a keyed hash and a look into a table from then on. Its first
request, and whoever guesses, waits for one of few threads, of which no more wait than are bounded:
a flood of wrong keys keeps strangers waiting, and nobody who is known.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import blake2b

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client

from schemas import api_keys
from schemas.api_keys import ADMIN, ApiKey, Scope
from schemas.http.errors import Overloaded
from schemas.http.scopes import KeyIncorrect
from schemas.subjects import DEFAULT_PROJECT
from services import clock, key_secrets
from services.gateway.rate import Bucket
from services.journal import JournalUnavailable
from services.journal.api_keys import ApiKeys

TICK_S = 0.25
"""Time between looks for keys that have expired, and for a connection that was made anew."""
LOOK_S = 5.0
"""Time between looks for records that were not heard of."""
WRITING_S = 5.0
"""Seconds in which a record that was heard of is stored, or never will be."""
CHECKED_MAX = 256
"""Keys that wait for their check at once, one of them to be guessed included."""
GUESSES_MAX = 2
"""Of these, with the same id: nobody holds others up who guesses at one key."""
REFUSED_MAX = 10_000
"""Wrong secrets that are known without being checked again."""

log = structlog.get_logger()


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks; ``key_id`` is none for callers of this machine while there are no keys."""

    project: str
    scope: Scope
    all_projects: bool
    key_id: str | None = None
    bucket: Bucket | None = None
    """Where its requests are counted, if there is a limit of them."""
    expires_at: datetime | None = None


ANYBODY = Caller(project=DEFAULT_PROJECT, scope=ADMIN, all_projects=True)
"""Every caller while no API keys are configured: on loopback only, unless that was insisted on."""

Ended = Callable[[str | None], None]
"""Told of a key that lets nobody in any more; none: whoever had no key."""


class KeyRing:
    """The keys of one log. Not for several threads."""

    def __init__(self, client: Client, *, demanded: bool) -> None:
        """``demanded``: nobody comes in without a key, not even while there are none."""
        self._client = client
        self._kept = ApiKeys(client)
        self._demanded = demanded
        self._seed = secrets.token_bytes(32)
        self._keys: dict[str, ApiKey] = {}
        self._revision = 0
        self._callers: dict[bytes, Caller] = {}
        self._digests: dict[str, bytes] = {}
        self._refused: dict[bytes, None] = {}
        self._buckets: dict[str, Bucket] = {}
        self._checks: dict[bytes, asyncio.Task[bool]] = {}
        self._guessed: Counter[str] = Counter()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._something = asyncio.Event()
        self._being_written: dict[str, tuple[bytes, float]] = {}
        self._reconnects = 0
        self._looked_at = 0.0
        self._following: asyncio.Task[None] | None = None
        self.ended: Ended = lambda _key_id: None
        """Called at once, and at every other time than while a key is looked up."""

    @property
    def required(self) -> bool:
        """Whether a key is needed: since one was made, for ever."""
        return self._demanded

    @property
    def empty(self) -> bool:
        """Whether there is no key, and never was one."""
        return not self._revision

    async def open(self) -> None:
        """Read what there is, and learn of what changes from now on."""
        await self._kept.listen(self._hear)
        await self._look()
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Learn of nothing any more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def known(self, token: str) -> Caller | None:
        """Who comes in with a key that was verified before."""
        caller = self._callers.get(self._digest(token))
        if caller is None or (caller.expires_at is not None and caller.expires_at <= clock.now()):
            return None
        return caller

    async def verified(self, token: str) -> Caller:
        """Who comes in with a key.

        Raises `KeyIncorrect`, or `Overloaded` where that cannot be told now.
        """
        read = api_keys.parts(token)
        if read is None:
            raise KeyIncorrect
        key_id, secret = read
        key = self._keys.get(key_id)
        if key is None and not self._current():
            raise Overloaded("API keys cannot be looked up now. Please retry.")
        if key is None or key.secret_hash is None or not key.stands(clock.now()):
            raise KeyIncorrect
        digest = self._digest(token)
        if token != api_keys.written(key.project, key_id, secret) or digest in self._refused:
            raise KeyIncorrect
        if not await self._matches(digest, key_id, secret, key.secret_hash):
            raise KeyIncorrect
        if self._keys.get(key_id) is not key:
            # It was changed while it was checked.
            raise Overloaded("The API key is being changed. Please retry.")
        caller = Caller(
            project=key.project,
            scope=key.scope,
            all_projects=key.all_projects,
            key_id=key_id,
            bucket=self._buckets.get(key_id),
            expires_at=key.expires_at,
        )
        self._callers[digest] = caller
        self._digests[key_id] = digest
        return caller

    def expired(self, caller: Caller) -> bool:
        """Whether a caller who came in would not come in now."""
        if caller.key_id is None:
            return self._demanded
        key = self._keys.get(caller.key_id)
        return key is None or not key.stands(clock.now())

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode(), key=self._seed, digest_size=16).digest()

    async def _matches(self, digest: bytes, key_id: str, secret: str, kept: str) -> bool:
        """Whether a secret is the one that is kept; asked at once, it is checked once."""
        check = self._checks.get(digest)
        if check is None:
            if len(self._checks) >= CHECKED_MAX or self._guessed[key_id] >= GUESSES_MAX:
                raise Overloaded("Too many API keys are being checked. Please retry.")
            check = asyncio.create_task(self._check(digest, key_id, secret, kept))
            self._checks[digest] = check
            self._guessed[key_id] += 1
        # Whoever waits may leave; the others go on waiting.
        return await asyncio.shield(check)

    async def _check(self, digest: bytes, key_id: str, secret: str, kept: str) -> bool:
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._threads, key_secrets.matches, secret, kept)
        finally:
            del self._checks[digest]
            self._guessed[key_id] -= 1
            if not self._guessed[key_id]:
                del self._guessed[key_id]
        if not right:
            self._refused[digest] = None
            if len(self._refused) > REFUSED_MAX:
                del self._refused[next(iter(self._refused))]
        return right

    def _current(self) -> bool:
        """Whether a key that is not here is nowhere."""
        return (
            self._client.is_connected
            and self._client.stats["reconnects"] == self._reconnects
            and clock.monotonic() - self._looked_at < 2 * LOOK_S
        )

    def _hear(self, key_id: str, payload: bytes) -> None:
        # It is told to everybody before it is stored.
        self._being_written[key_id] = (payload, clock.monotonic() + WRITING_S)
        self._something.set()

    async def _follow(self) -> None:
        while not self._client.is_closed:
            self._something.clear()
            if self._being_written:
                await asyncio.sleep(0.02)
            else:
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._something.wait()
                except TimeoutError:
                    self._end_expired()
            anew = self._client.stats["reconnects"] != self._reconnects
            late = clock.monotonic() - self._looked_at > LOOK_S
            if self._client.is_connected and (anew or late or self._being_written):
                try:
                    await self._look(anew=anew)
                except (JournalUnavailable, nats.errors.Error) as error:
                    log.warning("keys.unreadable", error=str(error))

    async def _look(self, *, anew: bool = False) -> None:
        """Take in what was written since; all there is, if ``anew``."""
        begun, reconnects = clock.monotonic(), self._client.stats["reconnects"]
        records, revision = await self._kept.changed(after=0 if anew else self._revision)
        if anew:
            records = dict.fromkeys(self._keys) | records
        self._revision, self._looked_at, self._reconnects = revision, begun, reconnects
        for key_id, record in records.items():
            self._take(key_id, record)
        now = clock.monotonic()
        for key_id, (payload, until) in tuple(self._being_written.items()):
            found = self._keys.get(key_id)
            if now > until or (found is not None and api_keys.encode(found) == payload):
                self._being_written.pop(key_id)

    def _take(self, key_id: str, record: ApiKey | None) -> None:
        if record == self._keys.get(key_id):
            return
        self._forget(key_id)
        if record is None:
            del self._keys[key_id]
            self._buckets.pop(key_id, None)
        else:
            self._keys[key_id] = record
            if record.requests_per_minute is not None and key_id not in self._buckets:
                self._buckets[key_id] = Bucket(record.requests_per_minute)
        self.ended(key_id)
        if not self._demanded:
            self._demanded = True
            log.info("auth.enabled")
            self.ended(None)

    def _end_expired(self) -> None:
        now = clock.now()
        for key_id in tuple(self._digests):
            if not self._keys[key_id].stands(now):
                self._forget(key_id)
                self.ended(key_id)

    def _forget(self, key_id: str) -> None:
        digest = self._digests.pop(key_id, None)
        if digest is not None:
            del self._callers[digest]
