"""Secrets of API keys: made here, hashed with Argon2id, compared in constant time.

A secret is 256 random bits, which nobody guesses whatever the hash costs. It costs milliseconds so
that it can be done on the way of a first request, and more than whatever else a wrong key meets.
"""

import secrets

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from schemas.api_keys import SECRET_LENGTH
from services import ids

_SALT_BYTES, _HASH_BYTES = 16, 32
_MEMORY_KIB, _ITERATIONS, _LANES = 8 * 1024, 1, 1
"""Written into each hash: they may be changed at any time."""


def fresh_secret() -> str:
    """A new random secret."""
    return ids.letters(SECRET_LENGTH)


def hashed(secret: str) -> str:
    """What is kept of a secret, in PHC string format."""
    return Argon2id(
        salt=secrets.token_bytes(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=_ITERATIONS,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    ).derive_phc_encoded(secret.encode())


def matches(secret: str, kept: str) -> bool:
    """Whether ``kept`` is the hash of this secret. Takes milliseconds: not for an event loop."""
    try:
        Argon2id.verify_phc_encoded(secret.encode(), kept)
    except InvalidKey:
        return False
    return True
