"""Encryption of what conversations hold: AES-256-GCM under a key for each, and the keys above it.

The master key is given by whoever runs Turnlog and is never stored. It wraps a key for each
project, that wraps a key for each conversation (`services.journal.vault` keeps both, wrapped), and
that one seals all content of its conversation, wherever it lies: to destroy it is to erase that.

Of a commit the `data` of each event is sealed, by itself, and stands there as a string. The rest
stays readable: ids, times, types and order, what an outline counts (ids and numbers, no content).
All of it is authenticated with each event: the commit's id, conversation and project, the digest of
the commit before it, the types beside it and its place among them. So no ciphertext passes in any
other place than the one it was made for. The chain of digests is over the stored bytes, hence over
ciphertext, and needs no key.

Messages that are kept beside the log (turn requests, what turns say) are sealed as a whole, for the
subject they are on.

Nonces are random, 96 bits: one key seals no more than the messages of one conversation, far below
the 2^32 up to which that is safe.
"""

import binascii
import hashlib
import secrets

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.envelope import Commit, StoredEvent, is_sealed
from schemas.wrapped_keys import WrappedKey

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_ID_BYTES = 8
_COMMIT, _WRAPPED, _MESSAGE = "turnlog commit 1", "turnlog key 1", "turnlog message 1"
"""What something sealed is, and the version of its form: authenticated with it."""

_SEALED = b"\0turnlog1"
"""What a sealed message begins with; no JSON does, nor any event of a stream."""
_encode = msgspec.json.Encoder().encode
_decode_sealed = msgspec.json.Decoder(bytes).decode


class Altered(ValueError):
    """Something sealed that was changed, or moved, since it was sealed."""


class MasterKeyUnknown(Exception):
    """A key is wrapped by a master key that was not given."""


class Key:
    """32 bytes, ``raw``, that seal and open; ``id`` tells nothing about them."""

    __slots__ = ("_cipher", "id", "raw")

    def __init__(self, key: bytes) -> None:
        """``key`` of `KEY_BYTES`."""
        self.raw = key
        self._cipher = AESGCM(key)
        self.id = hashlib.sha256(b"turnlog key id\0" + key).digest()[:_ID_BYTES].hex()

    @classmethod
    def fresh(cls) -> "Key":
        """A new random one."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def seal(self, content: bytes, place: bytes) -> bytes:
        """``content``, to be opened at the same ``place`` only."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """What was sealed; raises `Altered`."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except (InvalidTag, ValueError):
            raise Altered("sealed content was altered, or is not where it was sealed") from None

    def wrap(self, key: "Key", *owner: str) -> WrappedKey:
        """``key`` of ``owner`` as it may be stored."""
        sealed = self.seal(key.raw, _encode((_WRAPPED, key.id, *owner)))
        return WrappedKey(id=key.id, under=self.id, wrapped=sealed)

    def unwrap(self, wrapped: WrappedKey, *owner: str) -> "Key":
        """A key of ``owner`` that this one has wrapped; raises `Altered`."""
        return Key(self.open(wrapped.wrapped, _encode((_WRAPPED, wrapped.id, *owner))))

    def derived(self, purpose: str) -> bytes:
        """Another key, for ``purpose`` alone, from which nobody comes back to this one (HKDF)."""
        info = f"turnlog/{purpose}".encode()
        return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self.raw)

    def digest(self, content: bytes) -> str:
        """A digest that nobody without this key can make of what he guesses (keyed BLAKE2b)."""
        return hashlib.blake2b(content, key=self.raw, digest_size=32).hexdigest()


class Masters:
    """Master keys: the first wraps, all of them unwrap, so that they can be changed over."""

    def __init__(self, first: Key, *others: Key) -> None:
        """``others`` are those to be given up."""
        self.first = first
        self.all = (first, *others)
        self._by_id = {key.id: key for key in self.all}

    @classmethod
    def read(cls, text: str) -> "Masters":
        """Keys in Base64, 32 bytes each, commas between them; raises `ValueError`."""
        keys = [_read(part.strip()) for part in text.split(",")]
        return cls(*keys)

    def unwrap(self, wrapped: WrappedKey, *owner: str) -> Key:
        """A key of ``owner``; raises `MasterKeyUnknown` or `Altered`."""
        master = self._by_id.get(wrapped.under)
        if master is None:
            raise MasterKeyUnknown(
                f"the keys in the log are wrapped by master key {wrapped.under}, "
                f"and given was {', '.join(self._by_id)}"
            )
        return master.unwrap(wrapped, *owner)


def seal(commit: Commit, key: Key) -> Commit:
    """``commit`` with the content of its events sealed."""
    marked = msgspec.structs.replace(commit, key=key.id)
    sealed = tuple(
        msgspec.structs.replace(
            event, data=_text(key.seal(bytes(event.data), _place(marked, number)))
        )
        for number, event in enumerate(commit.events)
    )
    return msgspec.structs.replace(marked, events=sealed)


def unseal(commit: Commit, key: Key) -> Commit:
    """``commit`` as it was before it was sealed; raises `Altered`."""
    opened = tuple(
        msgspec.structs.replace(event, data=_content(commit, number, event, key))
        for number, event in enumerate(commit.events)
    )
    return msgspec.structs.replace(commit, key=msgspec.UNSET, events=opened)


def seal_message(content: bytes, key: Key, *place: str) -> bytes:
    """A message that is kept, to be opened at the same ``place`` only."""
    return _SEALED + key.seal(content, _encode((_MESSAGE, *place)))


def unseal_message(payload: bytes, key: Key, *place: str) -> bytes:
    """What was sealed in a message; raises `Altered`."""
    return key.open(payload.removeprefix(_SEALED), _encode((_MESSAGE, *place)))


def is_sealed_message(payload: bytes) -> bool:
    """Whether a message is ciphertext."""
    return payload.startswith(_SEALED)


def _content(commit: Commit, number: int, event: StoredEvent, key: Key) -> msgspec.Raw:
    if not is_sealed(event):
        raise Altered("an event of a sealed commit is not sealed")
    try:
        sealed = _decode_sealed(event.data)
    except msgspec.MsgspecError:
        raise Altered("sealed content was altered") from None
    return msgspec.Raw(key.open(sealed, _place(commit, number)))


def _place(commit: Commit, number: int) -> bytes:
    """All that is readable of a commit, and which of its events this is."""
    types = [(event.type, event.version) for event in commit.events]
    return _encode(
        (
            *(_COMMIT, commit.id, commit.conversation_id, commit.project, commit.at),
            *(commit.actor, commit.prev, commit.key, types, number),
        )
    )


def _text(sealed: bytes) -> msgspec.Raw:
    """Bytes as JSON: Base64."""
    return msgspec.Raw(_encode(sealed))


def _read(text: str) -> Key:
    try:
        key = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueError("a master key is not Base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"a master key has {KEY_BYTES} bytes, in Base64, and not {len(key)}")
    return Key(key)
