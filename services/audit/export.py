"""A conversation as a file that anybody can check who has nothing but the file.

JSON lines: what it is; each commit, its payload as text, so that its bytes can be hashed; and a
last line with their number, the digest of the newest, and the signed digest of all lines before.
"""

import hashlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from schemas import envelope
from services.audit.history import Histories
from services.journal import Stored

FORMAT = "turnlog-export-1"
PAGE_BYTES = 8 * 1024 * 1024
PAGE_COMMITS = 1000

_encode = msgspec.json.Encoder().encode


class Title(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    format: str
    project: str
    conversation_id: str
    exported_at: datetime


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A commit; ``payload`` is its bytes as text, ``sha256`` their digest."""

    sequence: int
    sha256: str
    payload: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The last line: ``head`` is the digest of the newest commit.

    ``sha256`` is of all lines before, and ``signature`` is of its 64 characters.
    """

    commits: int
    head: str
    sha256: str
    signature: str


class ChainBroken(Exception):
    """The log does not hold what was written, so there is nothing to vouch for."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"commit {sequence} does not follow the one before: see `turnlog verify`")


class ExportInvalid(Exception):
    """A file that is no export, is not whole, or was altered."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export says of a conversation: the digest of each commit, by sequence."""

    project: str
    conversation_id: str
    digests: dict[int, str]


async def lines(
    histories: Histories,
    project: str,
    conversation_id: str,
    *,
    key: Ed25519PrivateKey,
    at: datetime,
) -> AsyncGenerator[bytes, None]:
    """The file, line by line; nothing if the log knows no such conversation.

    Raises `ChainBroken`: what has been told by then lacks the last line.
    """
    whole, count, head, after = hashlib.sha256(), 0, None, 0
    more = True
    while more:
        found, more = await histories.page(
            project, conversation_id, after=after, limit=PAGE_COMMITS, bytes_max=PAGE_BYTES
        )
        if found and not count:
            title = Title(
                format=FORMAT, project=project, conversation_id=conversation_id, exported_at=at
            )
            yield _hashed(title, whole)
        for line in _chained(found, head):
            count, head, after = count + 1, line.sha256, line.sequence
            yield _hashed(line, whole)
    if head is not None:
        yield _encode(_sealed(whole.hexdigest(), count, head, key)) + b"\n"


def _hashed(line: msgspec.Struct, whole: "hashlib._Hash") -> bytes:
    text = _encode(line) + b"\n"
    whole.update(text)
    return text


def _chained(found: Iterable[Stored], head: str | None) -> Iterable[Line]:
    for stored in found:
        try:
            prev, payload = envelope.decode(stored.original).prev, stored.original.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ChainBroken(stored.sequence) from None
        if prev != head and not (head is None and envelope.erases(stored.payload)):
            # Where a conversation was erased, what came before may have been taken away.
            raise ChainBroken(stored.sequence)
        head = stored.digest
        yield Line(sequence=stored.sequence, sha256=head, payload=payload)


def _sealed(whole: str, count: int, head: str, key: Ed25519PrivateKey) -> Seal:
    return Seal(commits=count, head=head, sha256=whole, signature=key.sign(whole.encode()).hex())


def public_pem(key: Ed25519PrivateKey) -> str:
    """The public key as everybody's tools read it."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def read(content: bytes, key: Ed25519PublicKey) -> Exported:
    """An export that ``key`` has signed; raises `ExportInvalid`."""
    *told, last = content.splitlines(keepends=True) or [b""]
    try:
        seal = msgspec.json.decode(last, type=Seal)
        title = msgspec.json.decode(told[0] if told else b"", type=Title)
        commits = [msgspec.json.decode(line, type=Line) for line in told[1:]]
        key.verify(bytes.fromhex(seal.signature), seal.sha256.encode())
    except (msgspec.MsgspecError, ValueError) as error:
        raise ExportInvalid("it is no export, or not all of one") from error
    except InvalidSignature:
        raise ExportInvalid("it was not signed with the key of this log") from None
    if hashlib.sha256(b"".join(told)).hexdigest() != seal.sha256:
        raise ExportInvalid("it was altered after it was signed")
    return Exported(
        project=title.project,
        conversation_id=title.conversation_id,
        digests=_digests(commits),
    )


def _digests(commits: Sequence[Line]) -> dict[int, str]:
    return {line.sequence: line.sha256 for line in commits}
