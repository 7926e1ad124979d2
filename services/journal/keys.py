"""The content key, kept in the log's key-value bucket so that every process seals with the same."""

import nats.js.errors
from nats.aio.client import Client

from schemas import subjects
from services.journal import JournalUnavailable
from services.journal.patience import patiently
from services.journal.reading import Reader

_CONTENT_KEY = "content.1"


async def content_key(client: Client, fresh: bytes, *, wait_s: float = 10.0) -> bytes:
    """The 32-byte key; ``fresh`` becomes it when there is none. Many may ask at once: one wins."""
    reader = Reader(client)

    async def once(_attempt_s: float) -> bytes:
        bucket = await client.jetstream().key_value(subjects.KEYS)
        try:
            await bucket.create(_CONTENT_KEY, fresh)
        except nats.js.errors.KeyWrongLastSequenceError as error:
            kept = await reader.last_led(subjects.KEYS_STREAM, subjects.key(_CONTENT_KEY))
            if kept is None:
                raise JournalUnavailable("the content key is being written") from error
            return kept.data
        return fresh

    return await patiently(once, wait_s=wait_s)
