"""The key that exports are signed with: Ed25519, one for a log, kept in its key-value bucket."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client

from schemas import subjects
from services.journal import bucket


async def signing_key(
    client: Client, fresh: Ed25519PrivateKey, *, wait_s: float = 10.0
) -> Ed25519PrivateKey:
    """The key; ``fresh`` becomes it when there is none. Many may ask at once: one wins.

    Raises `JournalUnavailable`.
    """
    kept = await bucket.make(
        client, subjects.SIGNING_KEY_NAME, fresh.private_bytes_raw(), wait_s=wait_s
    )
    return Ed25519PrivateKey.from_private_bytes(kept.value)
