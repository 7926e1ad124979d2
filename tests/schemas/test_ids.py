import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.ids import acceptable, conversation_of, conversation_of_item
from schemas.item_types import TYPES
from services import ids
from tests.builders import PROPERTY


@pytest.mark.parametrize("value", ["a", "conv_1", "A-b_9", "x" * 64])
def test_ids_of_the_contracts_alphabet_are_acceptable(value):
    assert acceptable(value)


@pytest.mark.parametrize(
    "value", ["", "x" * 65, "a b", "a.b", "a*", "a>", "é", "a\n", "\n", "a/b", "٣"]
)
def test_other_ids_are_not(value):
    assert not acceptable(value)


@pytest.mark.parametrize("prefix", sorted({shape.prefix for shape in TYPES.values()}))
def test_an_item_id_leads_to_its_conversation(prefix):
    conversation_id = ids.conversation_id()
    mint = ids.minting_items(conversation_id)
    item_id = mint(prefix)
    assert conversation_of_item(item_id) == conversation_id
    assert re.fullmatch(rf"{prefix}_[0-9a-f]{{44}}", item_id)
    assert mint(prefix) != item_id


@pytest.mark.parametrize("item_id", ["", "msg_x", "msg_" + "g" * 60, "42", "msg_0123456789ab"])
def test_ids_of_others_lead_nowhere(item_id):
    assert conversation_of_item(item_id) is None


@PROPERTY
@given(st.text(max_size=70))
def test_an_acceptable_id_is_one_token_of_a_subject(value):
    if acceptable(value):
        assert subjects.conversation_parts(subjects.conversation("p", value)) == ("p", value)


def test_a_response_id_leads_to_its_conversation():
    conversation_id = ids.conversation_id()
    response_id = ids.response_id(conversation_id)
    assert conversation_of(response_id) == conversation_id
    assert re.fullmatch(r"conv_[0-9a-f]{32}", conversation_id)
    assert re.fullmatch(r"resp_[0-9a-f]{50}", response_id)
    assert ids.response_id(conversation_id) != response_id


@pytest.mark.parametrize(
    "value",
    [
        "",
        "resp_",
        "resp_68fb9701",
        "resp_" + "a" * 7 + "0" * 18,
        "resp_" + "a" * 20 + "g" * 18,
        "resp_" + "A" * 20 + "0" * 18,
        "msg_" + "a" * 20 + "0" * 18,
        "resp_" + "a" * 20 + "0" * 18 + "\n",
        "resp_" + "a." * 10 + "0" * 18,
    ],
)
def test_an_id_that_was_never_minted_here_leads_nowhere(value):
    assert conversation_of(value) is None


@PROPERTY
@given(st.integers(1, 70))
def test_every_response_id_that_leads_somewhere_can_be_named_by_clients(length):
    response_id = "resp_" + "a" * length + "0" * 18
    assert conversation_of(response_id) is None or acceptable(response_id)


def test_minted_ids_have_their_prefix_and_differ():
    minted = {ids.item_id("msg") for _ in range(100)}
    assert len(minted) == 100
    assert all(re.fullmatch(r"msg_[0-9a-f]{32}", item_id) for item_id in minted)
    assert re.fullmatch(r"call_[0-9a-f]{24}", ids.call_id())
