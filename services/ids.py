"""Where randomness enters: every id this product mints.

An id is a prefix and lowercase hex. Ids of conversations open with their second of birth, so that
ids of one time sort together and DuckDB's zone maps (12 characters of a string) can skip blocks.
"""

import secrets
import string
import time
from collections.abc import Callable

from schemas.api_keys import ID_LENGTH as API_KEY_ID_LENGTH
from schemas.ids import ITEM_SUFFIX_HEX, RESPONSE_SUFFIX_HEX

_LETTERS = string.ascii_letters + string.digits


def conversation_id() -> str:
    """A fresh conversation id: 8 hex digits of unix seconds, 24 of randomness."""
    return f"conv_{int(time.time()):08x}{secrets.token_hex(12)}"


def response_id(conversation: str) -> str:
    """A fresh response id that carries the id of ``conversation``, so it leads to its subject."""
    return f"resp_{conversation[5:]}{secrets.token_hex(RESPONSE_SUFFIX_HEX // 2)}"


def item_id(prefix: str) -> str:
    """A fresh id with the contract's ``prefix`` (``msg``, ``fc``, ``rs`` …) that leads nowhere."""
    return f"{prefix}_{secrets.token_hex(16)}"


def minting_items(conversation: str) -> Callable[[str], str]:
    """Makes, of a prefix, ids of items that lead to the subject of ``conversation``."""
    return lambda prefix: f"{prefix}_{conversation[5:]}{secrets.token_hex(ITEM_SUFFIX_HEX // 2)}"


def call_id() -> str:
    """A fresh tool call id, for models that leave it out."""
    return f"call_{secrets.token_hex(12)}"


def api_key_id() -> str:
    """A fresh id of an API key, which is no secret."""
    return secrets.token_hex(API_KEY_ID_LENGTH // 2)


def letters(count: int) -> str:
    """So many random letters and digits, for padding."""
    return "".join(secrets.choice(_LETTERS) for _ in range(count))


def unique() -> str:
    """An id for what nobody looks up: commits, requests, workers."""
    return secrets.token_hex(12)
