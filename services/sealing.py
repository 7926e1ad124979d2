"""``encrypted_content``: summaries only this installation can read, or have written.

AES-256-GCM; the key's id stands in front and is authenticated, so that a blob says which key opens
it. Self-contained: any process with the keys opens it, stored or not. Keys are never taken away:
the newest seals, all of them open.

Whose a blob is, is decided here, and by its seal alone: a client may bring what opens under a key
of ours, and nothing else. A model's server makes compactions as well, which only that server can
open. They are enclosed: its blob is sealed like a text of ours, under a header of its own, before
any client or log sees it, and taken out again when it goes back there. So nothing foreign has to be
let in, and what was forged cannot pass for foreign.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_BYTES = 6
_TEXT, _ENCLOSED = b"t1", b"u1"
"""What a blob holds, and the version of its form: a text of ours, or an upstream's own blob."""
_HEADER_BYTES = len(_TEXT) + _ID_BYTES

Look = Callable[[int], Awaitable[tuple[bytes, ...]]]
"""The keys of this installation beyond as many as are known."""

T = TypeVar("T")


class Unreadable(Exception):
    """A blob that no key of this installation has sealed, or that was changed since."""


def fresh_key() -> bytes:
    """A new random key."""
    return secrets.token_bytes(KEY_BYTES)


def key_id(key: bytes) -> bytes:
    """What blobs say of the key they were sealed with; tells nothing about it."""
    return hashlib.sha256(key).digest()[:_ID_BYTES]


class Sealer:
    """Seals and opens under the keys of one installation."""

    def __init__(self, *keys: bytes, look: Look | None = None) -> None:
        """``keys`` of `KEY_BYTES` each, oldest first; ``look`` finds later ones.

        Without any it can seal nothing.
        """
        self._ciphers: dict[bytes, AESGCM] = {}
        self._newest = b""
        self._look = look
        self._unknown = 0
        self._learn(keys)

    def seal(self, text: str) -> str:
        """An opaque blob of URL-safe base64; the same text seals differently each time."""
        return self._sealed(_TEXT, text)

    def enclose(self, blob: str) -> str:
        """The blob of an upstream as one of ours."""
        return self._sealed(_ENCLOSED, blob)

    def open(self, blob: str) -> str:
        """The text; raises `Unreadable`, also for what only an upstream can open."""
        kind, text = self._opened(blob)
        if kind != _TEXT:
            raise Unreadable("sealed by the model's server")
        return text

    def enclosed(self, blob: str) -> str | None:
        """The blob of an upstream that this one encloses; nothing if it is anything else."""
        try:
            kind, text = self._opened(blob)
        except Unreadable:
            return None
        return text if kind == _ENCLOSED else None

    def check(self, blob: str) -> None:
        """Raise `Unreadable` for what this installation has not sealed, whatever it may hold."""
        self._opened(blob)

    async def opening(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, or raises, under all keys there are.

        It is done again if it met a key that was made since keys were last looked for.
        """
        unknown, known = self._unknown, len(self._ciphers)
        try:
            done = work()
        except Exception:
            if self._unknown == unknown or not await self._renewed(known):
                raise
            return work()
        if self._unknown == unknown or not await self._renewed(known):
            return done
        return work()

    async def renew(self) -> None:
        """Look for keys that were made since."""
        if self._look is not None:
            self._learn(await self._look(len(self._ciphers)))

    async def _renewed(self, known: int) -> bool:
        if len(self._ciphers) == known:
            await self.renew()
        return len(self._ciphers) > known

    def _learn(self, keys: tuple[bytes, ...]) -> None:
        for key in keys:
            named = key_id(key)
            if named not in self._ciphers:
                # Of two looks at once the later may be told first, and knows of more.
                self._ciphers[named] = AESGCM(key)
                self._newest = named

    def _sealed(self, kind: bytes, text: str) -> str:
        nonce, header = secrets.token_bytes(_NONCE_BYTES), kind + self._newest
        sealed = self._ciphers[self._newest].encrypt(nonce, text.encode(), header)
        return base64.urlsafe_b64encode(header + nonce + sealed).decode()

    def _opened(self, blob: str) -> tuple[bytes, str]:
        try:
            raw = base64.b64decode(blob, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("not one of this server's") from None
        header = raw[:_HEADER_BYTES]
        kind, key = header[: len(_TEXT)], header[len(_TEXT) :]
        if kind not in {_TEXT, _ENCLOSED} or len(header) < _HEADER_BYTES:
            raise Unreadable("not one of this server's")
        if key not in self._ciphers:
            self._unknown += 1
            raise Unreadable("sealed with an unknown key")
        if base64.urlsafe_b64encode(raw) != blob.encode():
            # Decoding lets bits pass that stand for nothing.
            raise Unreadable("changed since it was written")
        nonce, sealed = raw[_HEADER_BYTES:][:_NONCE_BYTES], raw[_HEADER_BYTES + _NONCE_BYTES :]
        try:
            return kind, self._ciphers[key].decrypt(nonce, sealed, header).decode()
        except (InvalidTag, ValueError):
            raise Unreadable("changed since it was written") from None
