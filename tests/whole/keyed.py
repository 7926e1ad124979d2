"""API keys for tests, made as ``turnlog keys create`` makes them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from nats.aio.client import Client

from schemas import api_keys
from schemas.api_keys import WRITE, ApiKey, Scope
from services import clock, ids, key_secrets
from services.journal.api_keys import ApiKeys
from tests.whole.running import Running


def make(running: Running, project: str = "acme", scope: Scope = WRITE, **fields: Any) -> str:
    """A key that counts as soon as a gateway has heard of it."""
    secret = key_secrets.fresh_secret()
    key = ApiKey(
        id=ids.api_key_id(),
        project=project,
        scope=scope,
        created_at=clock.now(),
        secret_hash=key_secrets.hashed(secret),
        **fields,
    )

    async def keep(client: Client) -> None:
        await ApiKeys(client).create(key)

    running.on_log(keep)
    return api_keys.written(project, key.id, secret)


def id_of(key: str) -> str:
    """The public part of a key."""
    read = api_keys.parts(key)
    assert read is not None
    return read[0]


def revoke(running: Running, key: str, *, at: Callable[[], datetime] = clock.now) -> None:
    """Let nobody in with it any more."""

    async def work(client: Client) -> None:
        await ApiKeys(client).revoke(id_of(key), at=at())

    running.on_log(work)
