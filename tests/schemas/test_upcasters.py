import msgspec
import pytest

from schemas import envelope, events
from schemas.envelope import StoredEvent
from schemas.upcasters import CURRENT, STEPS, EventUnknown, upcast


def stored(name, version, data):
    return StoredEvent(type=name, version=version, data=msgspec.Raw(msgspec.json.encode(data)))


@pytest.mark.parametrize(
    ("name", "version"),
    [("turn_steered", 1), ("", 1), ("item_deleted", 2), ("item_deleted", 2**40)],
    ids=["unknown", "empty", "next_version", "far_future"],
)
def test_what_a_later_release_wrote_stops_with_its_name_and_version(name, version):
    with pytest.raises(EventUnknown) as refused:
        envelope.unpack(stored(name, version, {"item_id": "msg_1"}))
    assert (refused.value.name, refused.value.version, str(refused.value)) == (
        name,
        version,
        f"cannot read event {name!r} version {version}: written by a later release",
    )


def renamed(data):
    return {"item_id": data["id"]}


def prefixed(data):
    return {"item_id": f"msg_{msgspec.json.decode(data['item_id'])}"}


def test_old_versions_are_raised_one_step_at_a_time(monkeypatch):
    monkeypatch.setitem(CURRENT, "item_deleted", 3)
    monkeypatch.setitem(STEPS, ("item_deleted", 1), renamed)
    monkeypatch.setitem(STEPS, ("item_deleted", 2), prefixed)
    expected = events.ItemDeleted(item_id="msg_1")
    assert envelope.unpack(stored("item_deleted", 1, {"id": "1"})) == expected
    assert envelope.unpack(stored("item_deleted", 2, {"item_id": "1"})) == expected
    assert envelope.unpack(stored("item_deleted", 3, {"item_id": "msg_1"})) == expected
    assert envelope.pack(expected) == stored("item_deleted", 3, {"item_id": "msg_1"})
    with pytest.raises(EventUnknown):
        envelope.unpack(stored("item_deleted", 4, {"item_id": "msg_1"}))


def with_a_flag(data):
    return {**data, "on_line": True}


def test_items_keep_their_bytes_through_a_step(monkeypatch):
    monkeypatch.setitem(CURRENT, "turn_requested", 2)
    monkeypatch.setitem(STEPS, ("turn_requested", 1), with_a_flag)
    item = rb'{"id" : "msg_1","n":1e2,"big":123456789012345678901234567890,"text":"\u00e9"}'
    data = (
        rb'{"response_id":"resp_1","model":"m","items":[%b],"tokens":[1],'
        rb'"parameters":{"temperature":1.0}}' % item
    )
    event = envelope.unpack(StoredEvent(type="turn_requested", version=1, data=msgspec.Raw(data)))
    assert event.on_line
    assert bytes(event.items[0]) == item
    assert bytes(event.parameters) == b'{"temperature":1.0}'


def test_the_current_version_takes_no_step():
    data = {"item_id": "msg_1"}
    assert upcast("item_deleted", CURRENT["item_deleted"], data) is data


def test_every_registered_step_leads_to_a_version_that_is_written():
    assert all(name in CURRENT and 1 <= version < CURRENT[name] for name, version in STEPS)
    assert {
        (name, version) for name, current in CURRENT.items() for version in range(1, current)
    } == set(STEPS)
