"""``encrypted_content``: summaries only this installation can read, or have written.

AES-256-GCM over the text; the key's id stands in front and is authenticated, so that a blob says
which key opens it. Self-contained: any process with the key opens it, stored or not.
"""

import base64
import binascii
import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = b"t1"


class Unreadable(Exception):
    """A blob that no key of this installation has sealed, or that was changed since."""


def fresh_key() -> bytes:
    """A new random key."""
    return secrets.token_bytes(KEY_BYTES)


class Sealer:
    """Seals and opens texts under one key."""

    def __init__(self, key: bytes) -> None:
        """``key`` of `KEY_BYTES`."""
        self._cipher = AESGCM(key)
        self._header = _FORMAT + hashlib.sha256(key).digest()[:6]

    def seal(self, text: str) -> str:
        """An opaque blob of URL-safe base64; the same text seals differently each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), self._header)
        return base64.urlsafe_b64encode(self._header + nonce + sealed).decode()

    def open(self, blob: str) -> str:
        """The text; raises `Unreadable`."""
        try:
            raw = base64.b64decode(blob, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("not one of this server's") from None
        start = len(self._header)
        if raw[:start] != self._header:
            raise Unreadable("sealed with an unknown key")
        nonce, sealed = raw[start : start + _NONCE_BYTES], raw[start + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, sealed, self._header).decode()
        except (InvalidTag, ValueError):
            raise Unreadable("changed since it was written") from None
