"""What is encrypted: known answers, so that it opens for ever; what was touched does not."""

import base64
import hashlib
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas import envelope
from schemas.events import ConversationUpdated, ItemDeleted
from schemas.upcasters import EventSealed
from schemas.wrapped_keys import WrappedKey
from services import encryption
from services.encryption import Altered, Key, MasterKeyUnknown, Masters

KEY = Key(bytes(range(32)))
MASTER = Key(bytes(range(32, 64)))
SEALED = (
    b'{"id":"command-1","conversation_id":"conv_1","project":"default",'
    b'"at":"2026-11-25T15:04:05.678901Z","actor":"gateway-1",'
    b'"prev":"abababababababababababababababababababababababababababababababab",'
    b'"key":"2b3f6989b985f880","events":['
    b'{"type":"conversation_updated","version":1,"data":"nAY1qdQWWtsJbI5qqTC6gPcsBJNNnQxHrw7AocNwp'
    b'/f4AsbBog9Oxvjdft9TXi85pPL7qZ0zPtD5"},'
    b'{"type":"item_deleted","version":1,"data":"rNpPx5sN5b7lMM4vxa0+GiO/WRHsibbC2VrA4DhMgY'
    b'/T38mrb8jwwTgBEJ6Y37U="}]}'
)
"""A commit as it was stored once."""
CONTENTS = (ConversationUpdated(metadata={"name": "Grace"}), ItemDeleted(item_id="msg_1"))


def opened(payload: bytes, key: Key = KEY):
    return encryption.unseal(envelope.decode(payload), key)


def test_what_was_sealed_once_opens_for_ever():
    commit = opened(SEALED)
    assert tuple(map(envelope.unpack, commit.events)) == CONTENTS
    assert commit.key is msgspec.UNSET


def test_it_is_plain_aes_gcm_with_all_that_is_readable_authenticated():
    told = json.loads(SEALED)
    for number, event in enumerate(told["events"]):
        sealed = base64.b64decode(event["data"])
        names = ("id", "conversation_id", "project", "at", "actor", "prev", "key")
        types = [[each["type"], each["version"]] for each in told["events"]]
        place = ["turnlog commit 1", *(told[name] for name in names), types, number]
        bound = json.dumps(place, separators=(",", ":")).encode()
        content = AESGCM(bytes(range(32))).decrypt(sealed[:12], sealed[12:], bound)
        assert content == msgspec.json.encode(CONTENTS[number])


def test_sealed_again_nothing_is_the_same_and_the_same_is_read():
    commit = opened(SEALED)
    one, other = (encryption.seal(commit, KEY) for _ in range(2))
    assert one.events[0].data != other.events[0].data
    assert encryption.unseal(one, KEY) == encryption.unseal(other, KEY) == commit
    assert b"Grace" not in envelope.encode(one)


def test_who_has_no_key_reads_what_is_readable_and_is_told_that_the_rest_is_sealed():
    commit = envelope.decode(SEALED)
    assert [event.type for event in commit.events] == ["conversation_updated", "item_deleted"]
    with pytest.raises(EventSealed, match="the key is not here"):
        envelope.unpack(commit.events[0])


@pytest.mark.parametrize(
    "change",
    [
        (b'"conv_1"', b'"conv_2"'),
        (b'"default"', b'"another"'),
        (b'"command-1"', b'"command-2"'),
        (b'"gateway-1"', b'"gateway-2"'),
        (b"678901Z", b"678902Z"),
        (b"abab", b"abac"),
        (b'"item_deleted"', b'"items_added"'),
        (b'"version":1', b'"version":2'),
        (b'"data":"nAY1', b'"data":"nAY2'),
        (b'PtD5"', b'PtD4"'),
        (b'PtD5"', b'"'),
        (b'"2b3f6989b985f880"', b'"2b3f6989b985f881"'),
    ],
    ids=lambda change: change[0].decode(),
)
def test_nothing_of_it_can_be_changed(change):
    with pytest.raises(Altered):
        opened(SEALED.replace(*change, 1))


def test_no_event_opens_in_the_place_of_another_nor_beside_others():
    commit = envelope.decode(SEALED)
    one, other = commit.events
    swapped = (
        msgspec.structs.replace(one, data=other.data),
        msgspec.structs.replace(other, data=one.data),
    )
    for events in (swapped, (one,), (other, one), (one, other, other)):
        with pytest.raises(Altered):
            encryption.unseal(msgspec.structs.replace(commit, events=events), KEY)


def test_a_plain_event_in_a_sealed_commit_is_no_event_of_it():
    commit = envelope.decode(SEALED)
    forged = (envelope.pack(CONTENTS[0]), commit.events[1])
    with pytest.raises(Altered):
        encryption.unseal(msgspec.structs.replace(commit, events=forged), KEY)


def test_another_key_opens_nothing():
    with pytest.raises(Altered):
        opened(SEALED, Key.fresh())


def test_a_wrapped_key_opens_under_its_master_and_for_its_owner_only():
    stored = (
        b'{"id":"2b3f6989b985f880","under":"0567f7d857d3c3a4","wrapped":'
        b'"PSxXJravzFcIYDpJLY9VvGxVyqn6r+uA0DHvV1CBKdWmafqDAnPZzdDAYJMBzidoTH0ZTEHFEwWtxkZ1"}'
    )
    wrapped = msgspec.json.decode(stored, type=WrappedKey)
    assert Masters(Key.fresh(), MASTER).unwrap(wrapped, "project", "default").raw == KEY.raw
    with pytest.raises(Altered):
        MASTER.unwrap(wrapped, "project", "another")
    with pytest.raises(MasterKeyUnknown, match="0567f7d857d3c3a4"):
        Masters(KEY).unwrap(wrapped, "project", "default")


def test_what_is_derived_from_a_key_is_always_the_same_and_not_the_key():
    expected = "ed56fe0e144a25d43d0d5292cea97e15a31184febcf7be89782594bd73028563"
    assert MASTER.derived("x").hex() == expected
    assert MASTER.derived("y") != MASTER.derived("x")


def test_a_digest_is_no_digest_without_the_key():
    plain = {hashlib.sha256(b"guess").hexdigest(), hashlib.blake2b(b"guess").hexdigest()}
    assert KEY.digest(b"guess") == Key(KEY.raw).digest(b"guess")
    assert {KEY.digest(b"guess"), Key.fresh().digest(b"guess")}.isdisjoint(plain)


@pytest.mark.parametrize(
    "text", ["", "half-a-word", "AAAA", base64.b64encode(bytes(31)).decode(), "=,="]
)
def test_what_is_no_master_key_is_refused_without_being_told(text):
    with pytest.raises(ValueError, match="a master key") as refused:
        Masters.read(text)
    assert not text or text not in str(refused.value)


def test_several_master_keys_are_read_and_the_first_wraps():
    keys = [Key.fresh() for _ in range(2)]
    masters = Masters.read(", ".join(base64.b64encode(key.raw).decode() for key in keys))
    assert [key.id for key in masters.all] == [key.id for key in keys]
    assert masters.first.raw == keys[0].raw
