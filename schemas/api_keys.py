"""API keys: what is kept of one, and how the key itself is written.

A key is ``tl-<hint>-<id>-<secret>``: the hint tells people whose it is, the id is public and finds
the record, the secret is kept by nobody but its holder.
"""

import re
from datetime import datetime
from typing import Literal

import msgspec

Scope = Literal["read", "write", "admin"]
READ: Scope = "read"
WRITE: Scope = "write"
ADMIN: Scope = "admin"
SCOPES = (READ, WRITE, ADMIN)
"""Each may do all that those before it may."""

ID_LENGTH = 12
SECRET_LENGTH = 43
"""Letters and digits: 256 random bits."""
_HINT_LENGTH = 12

_TOKEN = re.compile(
    rf"tl-[A-Za-z0-9_-]{{1,{_HINT_LENGTH}}}"
    rf"-(?P<id>[0-9a-f]{{{ID_LENGTH}}})-(?P<secret>[A-Za-z0-9]{{{SECRET_LENGTH}}})"
)
_ANYWHERE = re.compile(rf"(tl-[A-Za-z0-9_-]{{1,{_HINT_LENGTH}}}-[0-9a-f]+)-[A-Za-z0-9]+")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who comes in with a key and what they may do there; of the secret only a hash.

    ``all_projects``: SQL shows every project, not its own alone. A key that was revoked has no hash
    any more, and is kept: where there was a key once, nobody comes in without one.
    """

    id: str
    project: str
    scope: Scope
    created_at: datetime
    all_projects: bool = False
    name: str = ""
    secret_hash: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    requests_per_minute: int | None = None

    def stands(self, at: datetime) -> bool:
        """Whether it lets its holder in."""
        return self.secret_hash is not None and (self.expires_at is None or at < self.expires_at)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ApiKey).decode


def encode(key: ApiKey) -> bytes:
    """The record's bytes."""
    return _encode(key)


def decode(payload: bytes) -> ApiKey:
    """The record of these bytes."""
    return _decode(payload)


def written(project: str, key_id: str, secret: str) -> str:
    """The key itself."""
    return f"tl-{project[:_HINT_LENGTH]}-{key_id}-{secret}"


def without_secrets(text: str) -> str:
    """``text`` as it may be logged: keys end with their ids."""
    return _ANYWHERE.sub(r"\1", text) if "tl-" in text else text


def parts(token: str) -> tuple[str, str] | None:
    """Id and secret of a key; none of what is written otherwise."""
    match = _TOKEN.fullmatch(token)
    return (match["id"], match["secret"]) if match else None
