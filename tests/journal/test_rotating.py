"""Master keys changed over on a real server, with old and new history read all the time."""

import asyncio
import base64

import nats
import pytest

from schemas import subjects
from services.encryption import Key, MasterKeyUnknown, Masters
from services.journal import streams, vault
from services.journal.reading import Reader
from services.journal.rotating import project_keys, rotate
from services.journal.vault import Vault
from services.settings import Settings, SettingsError

OLD, NEW = Key.fresh(), Key.fresh()


def settings(*keys: Key) -> Settings:
    return Settings(master_key=",".join(base64.b64encode(key.raw).decode() for key in keys))


@pytest.fixture
async def client(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        await streams.declare(client, chosen=settings(OLD))
        one = Vault(client, Masters(OLD))
        for project in ("acme", "trial"):
            await one.make(project, "conv_1")
        yield client


async def opened(client, *keys: Key) -> Key | None:
    found = await vault.opened(client, settings(*keys))
    assert found is not None
    return await found.find("acme", "conv_1")


async def stored(client, project="acme"):
    subject = subjects.project_key(project)
    return await Reader(client).read(subjects.ENCRYPTION_KEYS, subject, after=0)


async def test_only_keys_of_projects_are_wrapped_anew_and_what_was_before_is_gone(client, tmp_path):
    before, (old,) = await opened(client, OLD), await stored(client)
    assert await rotate(client, Masters(NEW, OLD)) == ["acme", "trial"]
    after = await opened(client, NEW)
    assert before is not None
    assert after is not None
    assert before.raw == after.raw
    assert {each.under for each in await project_keys(client)} == {NEW.id}
    assert len(await stored(client)) == 1
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert old.data not in files
    with pytest.raises(SettingsError, match=NEW.id):
        await opened(client, OLD)
    assert await rotate(client, Masters(NEW, OLD)) == []


async def test_whoever_has_both_reads_before_between_and_afterwards(client):
    running = Vault(client, Masters(NEW, OLD))
    assert await running.find("acme", "conv_1") is not None
    await running.make("fresh", "conv_1")
    await asyncio.gather(*(rotate(client, Masters(NEW, OLD)) for _ in range(4)))
    assert await running.find("trial", "conv_1") is not None
    assert await Vault(client, Masters(NEW, OLD)).find("trial", "conv_1") is not None
    assert await Vault(client, Masters(NEW)).find("fresh", "conv_1") is not None


async def test_cut_short_before_the_old_was_overwritten_it_is_finished_by_the_next(client):
    (old,) = await stored(client)
    key = Masters(OLD).unwrap(vault.wrapped_keys.decode(old.data), vault.PROJECT, "acme")
    anew = Masters(NEW).first.wrap(key, vault.PROJECT, "acme")
    await client.jetstream().publish(subjects.project_key("acme"), vault.wrapped_keys.encode(anew))
    assert len(await stored(client)) == 2
    assert await rotate(client, Masters(NEW, OLD)) == ["trial"]
    assert len(await stored(client)) == 1


async def test_without_the_old_one_nothing_is_changed(client):
    with pytest.raises(MasterKeyUnknown, match=OLD.id):
        await rotate(client, Masters(NEW))
    assert {each.under for each in await project_keys(client)} == {OLD.id}
