"""Keys that one log keeps for all its processes: values of its key-value bucket, made once."""

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import nats.js.errors
from nats.aio.client import Client

from schemas import subjects
from services.journal import JournalUnavailable
from services.journal.patience import patiently
from services.journal.reading import NO_MESSAGE


class Kept(NamedTuple):
    """A value, and when it was made."""

    value: bytes
    at: datetime


async def find(client: Client, name: str, *, wait_s: float) -> Kept | None:
    """What is kept under a name, by the bucket's leader; raises `JournalUnavailable`."""

    async def once(_attempt_s: float) -> Kept | None:
        return await _read(client, name)

    return await patiently(once, wait_s=wait_s)


async def demand(client: Client, name: str, *, wait_s: float) -> Kept:
    """As `find`, of what is there or on its way: others are told of a value before it is stored."""

    async def once(_attempt_s: float) -> Kept:
        return await _made(client, name)

    return await patiently(once, wait_s=wait_s)


async def make(client: Client, name: str, fresh: bytes, *, wait_s: float) -> Kept:
    """What is kept under a name: ``fresh``, unless somebody was first. Many may ask at once.

    Raises `JournalUnavailable`.
    """

    async def once(_attempt_s: float) -> Kept:
        bucket = await client.jetstream().key_value(subjects.KEYS)
        with suppress(nats.js.errors.KeyWrongLastSequenceError):
            await bucket.create(name, fresh)
        return await _made(client, name)

    return await patiently(once, wait_s=wait_s)


async def _made(client: Client, name: str) -> Kept:
    made = await _read(client, name)
    if made is None:
        raise JournalUnavailable("the key is being written")
    return made


async def _read(client: Client, name: str) -> Kept | None:
    subject = subjects.kept_key(name)
    try:
        found = await client.jetstream().get_msg(subjects.KEYS_STREAM, subject=subject)
    except nats.js.errors.NotFoundError as error:
        if error.err_code != NO_MESSAGE:
            raise
        return None
    assert found.time is not None
    return Kept(found.data or b"", found.time)
