"""The content key, kept in the log's key-value bucket so that every process seals with the same."""

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from schemas import subjects
from services.journal import JournalUnavailable

_CONTENT_KEY = "content.1"


async def content_key(client: Client, fresh: bytes) -> bytes:
    """The 32-byte key; ``fresh`` becomes it when there is none. Many may ask at once: one wins."""
    try:
        bucket = await client.jetstream().key_value(subjects.KEYS)
        try:
            await bucket.create(_CONTENT_KEY, fresh)
        except nats.js.errors.KeyWrongLastSequenceError:
            entry = await bucket.get(_CONTENT_KEY)
            assert entry.value is not None
            return entry.value
    except nats.errors.Error as error:
        raise JournalUnavailable(str(error)) from error
    return fresh
