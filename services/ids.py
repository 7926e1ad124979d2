"""Where randomness enters: every id this product mints.

An id is a prefix and lowercase hex. Ids of conversations open with their second of birth, so that
ids of one time sort together and DuckDB's zone maps (12 characters of a string) can skip blocks.
"""

import secrets
import time

from schemas.ids import RESPONSE_SUFFIX_HEX


def conversation_id() -> str:
    """A fresh conversation id: 8 hex digits of unix seconds, 24 of randomness."""
    return f"conv_{int(time.time()):08x}{secrets.token_hex(12)}"


def response_id(conversation: str) -> str:
    """A fresh response id that carries the id of ``conversation``, so it leads to its subject."""
    return f"resp_{conversation[5:]}{secrets.token_hex(RESPONSE_SUFFIX_HEX // 2)}"


def item_id(prefix: str) -> str:
    """A fresh item id with the contract's ``prefix`` (``msg``, ``fc``, ``rs`` …)."""
    return f"{prefix}_{secrets.token_hex(16)}"


def call_id() -> str:
    """A fresh tool call id, for models that leave it out."""
    return f"call_{secrets.token_hex(12)}"


def unique() -> str:
    """An id for what nobody looks up: commits, requests, workers."""
    return secrets.token_hex(12)
