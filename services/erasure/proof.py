"""A file that says what was erased, for whoever has asked for it; anybody can check its signature.

JSON lines: what it is, each conversation, and a last line with the signed digest of those before.
The key is the one that exports are signed with.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.erasure.erase import Erased

FORMAT = "turnlog-erasure-1"

_encode = msgspec.json.Encoder().encode


class Title(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    format: str
    written_at: datetime


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The last line; ``signature`` is of the 64 characters of ``sha256``."""

    conversations: int
    sha256: str
    signature: str


def proof(erased: Iterable[Erased], key: Ed25519PrivateKey, *, at: datetime) -> bytes:
    """The file."""
    lines = [_encode(Title(format=FORMAT, written_at=at)) + b"\n"]
    lines += [_encode(each) + b"\n" for each in erased]
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    signature = key.sign(digest.encode()).hex()
    seal = Seal(conversations=len(lines) - 1, sha256=digest, signature=signature)
    return b"".join(lines) + _encode(seal) + b"\n"
