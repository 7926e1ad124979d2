import json
import typing

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import settings

from schemas import item_types, items
from tests.builders import PROPERTY, counted, raw
from tests.schemas import item_shapes as shapes
from tests.schemas.item_shapes import CONVERSATION_ITEM, MINIMAL, RESPONSE_ITEM, STORED


def kept(*values: object, known=None):
    """The stored forms of some items, decoded."""
    stored = items.from_array(
        map(raw, values),
        "items",
        mint=counted(),
        accept=lambda _blob, _item_id: None,
        known=known or {},
    )
    return [json.loads(bytes(one)) for one in stored]


SENT = [
    item for item in MINIMAL if item.get("type") not in ("item_reference", "compaction_trigger")
]


# Samples of the contract


@pytest.mark.parametrize("item", STORED, ids=shapes.named(STORED))
def test_a_stored_form_that_is_sent_again_is_stored_as_it_is(item):
    assert kept(item) == [item]


@pytest.mark.parametrize("item", STORED, ids=shapes.named(STORED))
def test_a_stored_form_without_its_id_and_nulls_gets_an_id_of_its_type(item):
    bare = {name: value for name, value in item.items() if name != "id" and value is not None}
    prefix = item_types.TYPES[item["type"]].prefix
    assert kept(bare) == [{**bare, "id": f"{prefix}_1"}] or item["type"] in {
        "tool_search_call",
        "tool_search_output",
    }


@pytest.mark.parametrize("item", SENT, ids=shapes.named(SENT))
def test_the_least_a_client_sends_is_stored_as_the_sdk_describes_it(item):
    (stored,) = kept(item)
    assert shapes.is_what_the_sdk_describes(stored, CONVERSATION_ITEM)
    assert shapes.is_what_the_sdk_describes(stored, RESPONSE_ITEM)
    assert kept(stored) == [stored]
    added = {"id", "type", "status", "content", "execution"}
    assert {name: stored[name] for name in item.keys() - {"content"}} == {
        name: value for name, value in item.items() if name != "content"
    }
    assert stored.keys() - item.keys() <= added


def test_an_array_of_everything_keeps_its_order():
    assert [item["type"] for item in kept(*STORED)] == [item["type"] for item in STORED]
    assert kept(*STORED) == STORED


def test_a_reference_is_stored_as_what_it_names_byte_for_byte():
    known = {"msg_1": msgspec.Raw(b'{"id":"msg_1",  "type":"message"}')}
    given = [raw({"type": "item_reference", "id": "msg_1"}), raw({"id": "msg_1"})]
    stored = items.from_array(
        given, "input", mint=counted(), accept=lambda _blob, _item_id: None, known=known
    )
    assert [bytes(one) for one in stored] == [bytes(known["msg_1"])] * 2


# The SDK's own classes


def test_the_types_are_those_of_the_sdk():
    assert {*item_types.NAMES} == shapes.SENT.keys()
    assert item_types.TYPES.keys() == shapes.IN_CONVERSATIONS.keys() | shapes.LISTED.keys()


LENIENT = {"computer_call": {"pending_safety_checks"}}
"""Required by the SDK, and added here where a client leaves it out."""


@pytest.mark.parametrize("name", [name for name in item_types.TYPES if name != "message"])
def test_a_client_must_send_what_the_sdk_says_it_must(name):
    (kind,) = shapes.SENT[name]
    required = {field for field, info in kind.model_fields.items() if info.is_required()}
    shape = item_types.TYPES[name]
    ours = {*shape.group.required, *(["status"] if shape.status_sent else [])}
    assert ours == required - {"id", "type"} - LENIENT.get(name, set())


@pytest.mark.parametrize("name", item_types.TYPES)
def test_every_field_the_sdk_knows_is_checked(name):
    every = (shapes.SENT, shapes.LISTED, shapes.IN_CONVERSATIONS, shapes.ANSWERED)
    fields = {
        info.alias or field
        for classes in every
        for kind in classes.get(name, ())
        for field, info in kind.model_fields.items()
    }
    assert fields - {"id", "type", "status"} <= item_types.TYPES[name].group.fields.keys()


def values_of_status(kind):
    annotation = kind.model_fields["status"].annotation
    for part in (annotation, *typing.get_args(annotation)):
        yield from (value for value in typing.get_args(part) if isinstance(value, str))


@pytest.mark.parametrize("name", item_types.TYPES)
def test_the_values_of_a_status_are_those_of_the_sdk(name):
    every = (shapes.SENT, shapes.LISTED, shapes.IN_CONVERSATIONS, shapes.ANSWERED)
    statuses = {
        value
        for classes in every
        for kind in classes.get(name, ())
        if "status" in kind.model_fields
        for value in values_of_status(kind)
    }
    shape = item_types.TYPES[name]
    if not statuses:
        assert shape.status is None
        return
    for value in statuses:
        assert shape.status(raw(value), "status")
    with pytest.raises(items.Invalid) as refused:
        shape.status(raw("done"), "status")
    assert sorted(refused.value.message.split("'")[3::2]) == sorted(statuses)


@settings(PROPERTY, max_examples=200)
@for_all(shapes.listed_items())
def test_whatever_is_listed_can_be_sent_again_and_is_stored_unchanged(item):
    assert shapes.is_what_the_sdk_describes(item, CONVERSATION_ITEM)
    assert kept(item) == [item]


# What a model writes


@pytest.mark.parametrize("item", STORED, ids=shapes.named(STORED))
def test_what_a_model_wrote_is_adopted_whole(item):
    written = {**item, "id": "theirs"}
    assert items.prefix_of(raw(written)) == item_types.TYPES[item["type"]].prefix
    adopted = json.loads(bytes(items.adopted(raw(written), item["id"])))
    assert adopted == item


@pytest.mark.parametrize("item", STORED, ids=shapes.named(STORED))
def test_what_a_model_left_out_is_added_to_what_it_wrote(item):
    left_out = ("id", "status", "pending_safety_checks", "execution")
    written = {name: value for name, value in item.items() if name not in left_out}
    adopted = json.loads(bytes(items.adopted(raw(written), item["id"])))
    assert shapes.is_what_the_sdk_describes(adopted, CONVERSATION_ITEM)
