"""Keys of conversations on a real server: made once, whoever makes them and whatever dies."""

import asyncio
import base64
import itertools

import nats
import pytest

from schemas import envelope, subjects
from services.conversation import commands as c
from services.encryption import Altered, Key, Masters
from services.journal import streams, vault
from services.journal.jetstream import JetStreamJournal
from services.journal.publishing import MESSAGE_ID
from services.journal.vault import KeyDestroyed, Vault
from services.settings import Settings, SettingsError
from tests.builders import message
from tests.journal.contract import (
    PROJECT,
    ConversationsContract,
    grant,
    process,
    stored_by,
)

MASTER = Key.fresh()
SETTINGS = Settings(master_key=base64.b64encode(MASTER.raw).decode())
SECRET = "correct horse battery staple"

_numbers = itertools.count()


@pytest.fixture(autouse=True)
async def encrypted(connect):
    client = await connect()
    await streams.declare(client, chosen=SETTINGS)
    return client


@pytest.fixture
def open_vault(connect):
    async def another(**limits: int):
        return Vault(await connect(), Masters(MASTER), wait_s=2, **limits)

    return another


@pytest.fixture
def conversation_id():
    return f"conv_5ea1{next(_numbers):08x}"


@pytest.fixture
async def journal(encrypted):
    return JetStreamJournal(encrypted, Vault(encrypted, Masters(MASTER)), wait_s=2)


@pytest.fixture
def open_journal(connect, open_vault):
    async def another():
        return JetStreamJournal(await connect(), await open_vault(), wait_s=2)

    return another


class TestConversations(ConversationsContract):
    """What holds of every journal holds of an encrypted one."""

    async def headers_of(self, journal, _conversation_id, stored):
        found = await journal._client.jetstream().get_msg(
            subjects.CONVERSATIONS, seq=stored.sequence
        )
        return found.headers


async def test_of_many_that_make_a_key_at_once_all_have_the_same(
    encrypted, open_vault, conversation_id
):
    vaults = [await open_vault() for _ in range(8)]
    made = await asyncio.gather(
        *(
            each.make(PROJECT, conversation_id, fresh=number % 2 == 0)
            for number, each in enumerate(vaults)
        )
    )
    assert len({key.raw for key in made}) == 1
    found = await encrypted.jetstream().stream_info(
        subjects.ENCRYPTION_KEYS,
        subjects_filter=subjects.conversation_key(PROJECT, conversation_id),
    )
    assert found.state.subjects == {subjects.conversation_key(PROJECT, conversation_id): 1}


async def test_a_key_whose_maker_died_before_the_first_commit_is_used_by_the_next(
    open_vault, open_journal, conversation_id
):
    left = await (await open_vault()).make(PROJECT, conversation_id, fresh=True)
    journal = await open_journal()
    command = c.CreateConversation(metadata={"a": SECRET})
    await grant(process(journal), conversation_id, command, "create", fresh=True)
    (stored,) = await stored_by(journal, conversation_id)
    assert envelope.decode(stored.original).key == left.id


async def test_no_content_is_in_the_log_nor_any_key_in_its_stream(
    journal, encrypted, conversation_id
):
    one = process(journal)
    command = c.CreateConversation(metadata={"a": SECRET}, items=(message("msg_1", SECRET),))
    await grant(one, conversation_id, command, "create", fresh=True)
    raw = await JetStreamJournal(encrypted).read(PROJECT, conversation_id, after=0)
    (opened,) = await stored_by(journal, conversation_id)
    assert SECRET.encode() in opened.payload
    assert SECRET.encode() not in opened.original
    assert [each.payload for each in raw] == [opened.original]
    assert raw[0].digest == opened.digest
    key = await journal._vault.find(PROJECT, conversation_id)
    kept = await encrypted.jetstream().get_msg(
        subjects.ENCRYPTION_KEYS, subject=subjects.conversation_key(PROJECT, conversation_id)
    )
    assert base64.b64encode(key.raw) not in kept.data


async def test_plain_history_goes_on_encrypted_and_both_are_read(
    journal, encrypted, conversation_id
):
    plain = process(JetStreamJournal(encrypted))
    created = c.CreateConversation(metadata={"a": "before"})
    await grant(plain, conversation_id, created, "create", fresh=True)
    later = c.AddItems(items=(message("msg_1", SECRET),))
    granted = await grant(process(journal), conversation_id, later, "add")
    assert granted.state.metadata == {"a": "before"}
    one, other = await stored_by(journal, conversation_id)
    assert (one.sealed, bool(other.sealed)) == (b"", True)
    assert envelope.decode(other.payload).prev == one.digest


async def test_a_conversation_that_is_known_costs_no_read_and_a_new_one_costs_one(
    open_vault, conversation_id
):
    names = [f"{conversation_id}{number}" for number in range(3)]
    one, other = await open_vault(), await open_vault(keys_max=2)
    for name in names:
        await one.make(PROJECT, name, fresh=True)
    for name in names:
        assert await other.find(PROJECT, name) is not None
    assert other.known(PROJECT, names[0]) is None
    assert other.known(PROJECT, names[2]) is not None
    sent = other._client.stats["out_msgs"]
    await other.find(PROJECT, names[2])
    assert other._client.stats["out_msgs"] == sent
    await other.find(PROJECT, names[0])
    assert other._client.stats["out_msgs"] == sent + 1


async def test_an_empty_message_in_its_place_says_that_a_key_is_destroyed(
    encrypted, open_vault, conversation_id
):
    subject = subjects.conversation_key(PROJECT, conversation_id)
    await encrypted.jetstream().publish(subject, b"", headers={MESSAGE_ID: conversation_id})
    found = await open_vault()
    for asking in (found.find, found.make):
        with pytest.raises(KeyDestroyed):
            await asking(PROJECT, conversation_id)
    with pytest.raises(KeyDestroyed):
        await found.make(PROJECT, conversation_id, fresh=True)
    owner = (PROJECT, conversation_id)
    assert await found.find_all([owner]) == ({}, {owner})


async def test_a_key_that_was_moved_to_another_conversation_opens_nothing(
    encrypted, open_vault, conversation_id
):
    await (await open_vault()).make(PROJECT, conversation_id, fresh=True)
    kept = await encrypted.jetstream().get_msg(
        subjects.ENCRYPTION_KEYS, subject=subjects.conversation_key(PROJECT, conversation_id)
    )
    other = f"{conversation_id}ff"
    await encrypted.jetstream().publish(subjects.conversation_key(PROJECT, other), kept.data)
    with pytest.raises(Altered):
        await (await open_vault()).find(PROJECT, other)


class TestOpened:
    """What a process finds when it starts."""

    @pytest.fixture
    async def client(self, empty_server_url):
        async with await nats.connect(empty_server_url) as client:
            yield client

    async def test_a_log_that_is_not_encrypted_has_no_vault(self, client):
        await streams.declare(client)
        assert await vault.opened(client, Settings()) is None
        assert subjects.ENCRYPTION_KEYS not in {
            info.config.name for info in await client.jetstream().streams_info()
        }

    async def test_without_its_master_key_nobody_goes_on_with_an_encrypted_log(self, client):
        await streams.declare(client, chosen=SETTINGS)
        assert await vault.opened(client, Settings()) is None
        opened = await vault.opened(client, SETTINGS)
        assert opened is not None
        await opened.make(PROJECT, "conv_1")
        with pytest.raises(SettingsError, match="TURNLOG_MASTER_KEY: required"):
            await vault.opened(client, Settings())
        other = Settings(master_key=base64.b64encode(bytes(32)).decode())
        with pytest.raises(SettingsError, match=MASTER.id):
            await vault.opened(client, other)
        assert await vault.opened(client, SETTINGS) is not None

    async def test_a_command_may_print_the_master_key(self, client):
        command = f"printf %s {SETTINGS.master_key}"
        printed = Settings(master_key_command=command)
        await streams.declare(client, chosen=printed)
        opened = await vault.opened(client, printed)
        assert opened is not None
        await opened.make(PROJECT, "conv_1")
        again = await vault.opened(client, SETTINGS)
        assert again is not None
        assert await again.find(PROJECT, "conv_1") is not None

    @pytest.mark.parametrize("command", ["false", "printf half", "no-such-command", "'"])
    async def test_a_command_that_prints_none_is_told_without_its_output(self, client, command):
        with pytest.raises(SettingsError, match="TURNLOG_MASTER_KEY_COMMAND: ") as refused:
            await vault.opened(client, Settings(master_key_command=command))
        assert "half" not in str(refused.value)
