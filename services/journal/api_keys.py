"""API keys, kept in a key-value bucket of the log, a record each.

Records are written and never removed: a key that was revoked stays, without its hash.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import api_keys, subjects
from schemas.api_keys import ApiKey
from services.journal import JournalUnavailable
from services.journal.patience import patiently
from services.journal.reading import Reader, sequence_of, subject_of

log = structlog.get_logger()

Heard = Callable[[str, bytes], None]
"""Told of a record's id, and of its bytes: it is written, or about to be."""


class KeyUnknown(Exception):
    """There is no key with this id."""


class ApiKeys:
    """The bucket of one log, by its leader; every method raises `JournalUnavailable`."""

    def __init__(self, client: Client, *, wait_s: float = 10.0) -> None:
        """``wait_s`` bounds each read and write, with its repeats."""
        self._client = client
        self._log = client.jetstream()
        self._reader = Reader(client, wait_s=wait_s / 2)
        self._wait_s = wait_s

    async def changed(self, *, after: int) -> tuple[dict[str, ApiKey | None], int]:
        """Records, by id, that were written after a revision of the bucket; and the newest one.

        None: it was removed or changed by hand, and is as good as revoked.
        """
        found = await self._reader.read(
            subjects.API_KEYS_STREAM, subjects.ALL_API_KEYS, after=after
        )
        records = {
            (key_id := subjects.api_key_id(subject_of(each))): _read(key_id, each.data)
            for each in found
        }
        return records, sequence_of(found[-1]) if found else after

    async def all(self) -> tuple[ApiKey, ...]:
        """Every record, oldest first; none where no key was ever made."""
        try:
            records, _ = await self.changed(after=0)
        except nats.js.errors.NotFoundError:
            return ()
        found = (each for each in records.values() if each is not None)
        return tuple(sorted(found, key=lambda each: (each.created_at, each.id)))

    async def create(self, key: ApiKey) -> None:
        """Keep a new key; its id is taken to be a fresh one."""

        async def once(_attempt_s: float) -> None:
            bucket = await self._log.key_value(subjects.API_KEYS)
            try:
                await bucket.create(key.id, api_keys.encode(key))
            except nats.js.errors.KeyWrongLastSequenceError:
                # An attempt before this one came through all the same.
                kept = await self._kept(key.id)
                if kept is None or kept.data != api_keys.encode(key):
                    raise

        await patiently(once, wait_s=self._wait_s)

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey:
        """The key, which lets nobody in any more; twice is safe. Raises `KeyUnknown`."""

        async def once(_attempt_s: float) -> ApiKey:
            kept = await self._kept(key_id)
            if kept is None or not kept.data:
                raise KeyUnknown(key_id)
            key = api_keys.decode(kept.data)
            if key.revoked_at is not None:
                return key
            key = msgspec.structs.replace(key, secret_hash=None, revoked_at=at)
            bucket = await self._log.key_value(subjects.API_KEYS)
            try:
                await bucket.update(key_id, api_keys.encode(key), last=sequence_of(kept))
            except nats.js.errors.KeyWrongLastSequenceError as error:
                raise JournalUnavailable("the key was changed meanwhile") from error
            return key

        return await patiently(once, wait_s=self._wait_s)

    async def listen(self, heard: Heard) -> None:
        """Tell ``heard`` of every record from now on, as it is being written."""

        async def hear(message: Msg) -> None:
            heard(subjects.api_key_id(message.subject), message.data)

        await self._client.subscribe(subjects.ALL_API_KEYS, cb=hear)

    async def _kept(self, key_id: str) -> Msg | None:
        return await self._reader.last_led(subjects.API_KEYS_STREAM, subjects.api_key(key_id))


def _read(key_id: str, payload: bytes) -> ApiKey | None:
    try:
        return api_keys.decode(payload) if payload else None
    except msgspec.MsgspecError as error:
        log.warning("key.unreadable", key_id=key_id, error=str(error))
        return None
