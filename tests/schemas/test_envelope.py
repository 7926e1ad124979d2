import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import envelope, events
from schemas.envelope import Commit, Outline
from tests.builders import AT, PROPERTY, added, created, message, requested

COMMIT = Commit(
    id="resp_1.requested",
    conversation_id="conv_1",
    project="default",
    at=AT,
    actor="responder",
    prev="00ff",
    events=(envelope.pack(created(a="b")), envelope.pack(added(message("msg_1")))),
)
STORED = (
    b'{"id":"resp_1.requested","conversation_id":"conv_1","project":"default",'
    b'"at":"2025-10-24T15:10:54.250000Z","actor":"responder","prev":"00ff","events":['
    b'{"type":"conversation_created","version":1,"data":{"metadata":{"a":"b"}}},'
    b'{"type":"items_added","version":1,"data":{"items":[{"id":"msg_1","type":"message",'
    b'"status":"completed","content":[{"type":"input_text","text":"Hi"}],"role":"user"}],'
    b'"tokens":[1]}}]}'
)


def test_a_commit_is_stored_as_these_bytes():
    assert envelope.encode(COMMIT) == STORED


def test_a_stored_commit_is_read_and_written_again_byte_for_byte():
    decoded = envelope.decode(STORED)
    assert decoded == COMMIT
    assert envelope.encode(decoded) == STORED
    assert tuple(map(envelope.unpack, decoded.events)) == (
        created(a="b"),
        added(message("msg_1")),
    )


def test_the_first_commit_has_no_previous_one():
    first = msgspec.structs.replace(COMMIT, prev=None)
    assert json.loads(envelope.encode(first))["prev"] is None
    assert envelope.decode(envelope.encode(first)).prev is None


def test_events_stay_bytes_until_they_are_needed():
    foreign = STORED.replace(b'"conversation_created"', b'"conversation_sung"')
    assert envelope.decode(foreign).events[0].type == "conversation_sung"


def test_spaces_and_escapes_in_an_event_outlive_decoding():
    item = b'{"id":"msg_1",  "type":"message","content":"\\u00e9 \\ud83d\\ude00"}'
    event = events.ItemsAdded(items=(msgspec.Raw(item),), tokens=(1,))
    commit = msgspec.structs.replace(COMMIT, events=(envelope.pack(event),))
    read = envelope.unpack(envelope.decode(envelope.encode(commit)).events[0])
    assert bytes(read.items[0]) == item


def test_the_digest_is_the_sha256_of_the_stored_bytes():
    assert envelope.digest(STORED) == hashlib.sha256(STORED).hexdigest()
    assert envelope.digest(STORED) != envelope.digest(STORED + b" ")


def test_headers_tell_types_and_outline_without_the_payload():
    outline = Outline(items=2, window=-1, running="resp_1", deleted=True, tokens=9)
    assert envelope.headers(COMMIT, outline) == {
        "Turnlog-Events": "conversation_created,items_added",
        "Turnlog-Outline": ('{"items":2,"window":-1,"running":"resp_1","deleted":true,"tokens":9}'),
    }
    assert envelope.headers(COMMIT, Outline())["Turnlog-Outline"] == "{}"


@PROPERTY
@given(
    st.builds(
        Outline,
        items=st.integers(0, 2**31),
        window=st.integers(-1, 2**53),
        running=st.none() | st.just("resp_1"),
        deleted=st.booleans(),
        tokens=st.integers(0, 2**31),
    )
)
def test_an_outline_is_read_as_it_was_written(outline):
    header = envelope.headers(COMMIT, outline)[envelope.OUTLINE_HEADER]
    assert envelope.read_outline(header) == outline


def test_an_event_without_a_required_field_is_no_event():
    broken = envelope.StoredEvent(type="item_deleted", version=1, data=msgspec.Raw(b"{}"))
    with pytest.raises(msgspec.ValidationError):
        envelope.unpack(broken)


def test_fields_of_a_later_release_are_passed_over():
    stored = envelope.StoredEvent(
        type="item_deleted", version=1, data=msgspec.Raw(b'{"item_id":"msg_1","why":"asked"}')
    )
    assert envelope.unpack(stored) == events.ItemDeleted(item_id="msg_1")


def test_defaults_are_not_written():
    packed = envelope.pack(requested("resp_1", on_line=False))
    assert json.loads(bytes(packed.data)) == {
        "response_id": "resp_1",
        "model": "simulator",
        "items": [],
        "tokens": [],
        "parameters": {},
    }
