"""The key that exports are signed with: Ed25519, one for a log, kept in its key-value bucket."""

import nats.js.errors
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client

from schemas import subjects
from services.journal import JournalUnavailable
from services.journal.patience import patiently
from services.journal.reading import Reader


async def signing_key(
    client: Client, fresh: Ed25519PrivateKey, *, wait_s: float = 10.0
) -> Ed25519PrivateKey:
    """The key; ``fresh`` becomes it when there is none. Many may ask at once: one wins.

    Raises `JournalUnavailable`.
    """
    reader = Reader(client)

    async def once(_attempt_s: float) -> Ed25519PrivateKey:
        bucket = await client.jetstream().key_value(subjects.KEYS)
        try:
            await bucket.create(subjects.SIGNING_KEY_NAME, fresh.private_bytes_raw())
        except nats.js.errors.KeyWrongLastSequenceError as error:
            kept = await reader.last_led(subjects.KEYS_STREAM, subjects.SIGNING_KEY)
            if kept is None:
                raise JournalUnavailable("the signing key is being written") from error
            return Ed25519PrivateKey.from_private_bytes(kept.data)
        return fresh

    return await patiently(once, wait_s=wait_s)
