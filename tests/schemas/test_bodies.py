"""Bodies of requests: what is taken, what is refused, and that nothing else ever happens."""

import json
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import items, turn_requests
from schemas.http import conversations, known, responses, stream_events
from schemas.http.compact import read_compact
from schemas.http.create_response import read_create
from schemas.http.input_tokens import read_input_tokens
from schemas.turn_requests import TurnRequest
from services.conversation import refusals
from tests.builders import AT, PROPERTY, counted, raw
from tests.schemas.answers import answered, invalid, refusal

MODEL = {"model": "m", "input": "x"}


def sent(value):
    return bytes(raw(value))


@pytest.mark.parametrize(
    ("body", "metadata", "count"),
    [
        ({}, {}, 0),
        ({"items": []}, {}, 0),
        ({"items": None, "metadata": None}, {}, 0),
        ({"items": [1, 2], "metadata": {"a": "b"}}, {"a": "b"}, 2),
        ({"unheard_of": 1}, {}, 0),
    ],
)
def test_a_conversation_is_created_from_any_legal_body(body, metadata, count):
    given_metadata, listed = conversations.read_create(sent(body), strict=False)
    assert (given_metadata, len(listed)) == (metadata, count)


def test_an_empty_body_creates_a_conversation():
    assert conversations.read_create(b"", strict=True) == ({}, [])


TOO_MANY = invalid(
    "Invalid 'items': array too long. Expected an array with maximum length 20, "
    "but got an array with length 21 instead.",
    param="items",
    code="array_above_max_length",
)


def test_more_than_twenty_items_are_refused_by_either_door():
    body = sent({"items": [{}] * 21})
    assert refusal(conversations.read_create, body, strict=False) == TOO_MANY
    assert refusal(conversations.read_items, body, strict=False) == TOO_MANY
    assert len(conversations.read_items(sent({"items": [{}] * 20}), strict=True)) == 20


@pytest.mark.parametrize(
    ("read", "body", "message", "param", "code"),
    [
        (
            conversations.read_items,
            {},
            "Missing required parameter: 'items'.",
            "items",
            "missing_required_parameter",
        ),
        (
            conversations.read_items,
            {"items": None},
            "Invalid type for 'items': expected an array, but got null instead.",
            "items",
            "invalid_type",
        ),
        (
            conversations.read_create,
            {"items": "x"},
            "Invalid type for 'items': expected an array, but got a string instead.",
            "items",
            "invalid_type",
        ),
        (
            conversations.read_update,
            {},
            "Missing required parameter: 'metadata'.",
            "metadata",
            "missing_required_parameter",
        ),
        (
            conversations.read_update,
            {"metadata": "x"},
            "Invalid type for 'metadata': expected a metadata object, but got a string instead.",
            "metadata",
            "invalid_type",
        ),
    ],
)
def test_a_body_that_cannot_be_is_refused(read, body, message, param, code):
    assert refusal(read, sent(body), strict=False) == invalid(message, param=param, code=code)


def test_an_update_may_empty_the_metadata():
    assert conversations.read_update(b'{"metadata":null}', strict=True) == {}
    assert conversations.read_update(b'{"metadata":{"a":""}}', strict=True) == {"a": ""}


def test_what_is_not_there_is_answered_404_in_the_contracts_words():
    assert [
        (error.status, error.message, error.param, error.code)
        for error in (
            refusals.ConversationUnknown("conv_x"),
            refusals.ItemUnknown("msg_x"),
            refusals.ResponseUnknown("resp_x"),
        )
    ] == [
        (404, "Conversation with id 'conv_x' not found.", None, None),
        (404, "Item with id 'msg_x' not found in conversation.", None, None),
        (404, "Response with id 'resp_x' not found.", None, None),
    ]


@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        (
            conversations.Conversation(id="conv_1", created_at=1761318654, metadata={}),
            b'{"id":"conv_1","object":"conversation","created_at":1761318654,"metadata":{}}',
        ),
        (
            conversations.ConversationDeleted(id="conv_1"),
            b'{"id":"conv_1","object":"conversation.deleted","deleted":true}',
        ),
        (
            conversations.ItemList(data=(), first_id=None, has_more=False, last_id=None),
            b'{"object":"list","data":[],"first_id":null,"has_more":false,"last_id":null}',
        ),
        (
            conversations.ItemList(
                data=(msgspec.Raw(b'{"id":"a"}'),), first_id="a", has_more=True, last_id="a"
            ),
            b'{"object":"list","data":[{"id":"a"}],"first_id":"a","has_more":true,"last_id":"a"}',
        ),
        (
            responses.ResponseDeleted(id="resp_1"),
            b'{"id":"resp_1","object":"response","deleted":true}',
        ),
        (
            responses.Usage(),
            (
                b'{"input_tokens":0,"input_tokens_details":{"cache_write_tokens":0,"cached_tokens":0},'
                b'"output_tokens":0,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":0}'
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_answers_have_their_keys_in_the_order_of_the_wire(answer, wire):
    assert msgspec.json.encode(answer) == wire


# Anything at all


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["conv_1", "resp_1", "msg_1", "message", "user", "function", "auto", ""]),
)
KEYS = st.sampled_from(
    sorted(
        {
            *known.CREATE_RESPONSE,
            *("effort", "format", "verbosity", "schema", "strict", "compact_threshold", "version"),
            *("variables", "mode", "ttl", "policy", "completion_window", "messages", "stre"),
            *("items", "id", "type", "role", "content", "text", "name", "call_id", "output"),
            *("status", "summary", "arguments", "encrypted_content", "annotations", "phase"),
        }
    )
)
TYPES = st.sampled_from([*items.TYPES, "item_reference", "input_text", "output_text", "refusal"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=6),
        st.builds(
            lambda kind, rest: {"type": kind, **rest},
            TYPES,
            st.dictionaries(KEYS, inner, max_size=6),
        ),
    ),
    max_leaves=20,
)
BODIES = st.dictionaries(KEYS, VALUES, max_size=8)


READERS = [
    partial(read, strict=strict)
    for read in (
        conversations.read_create,
        conversations.read_update,
        conversations.read_items,
        read_create,
        read_input_tokens,
        read_compact,
    )
    for strict in (False, True)
]


@PROPERTY
@given(BODIES, st.booleans())
def test_no_json_makes_reading_a_body_raise_anything_but_an_answer(body, with_model):
    payload = sent({**MODEL, **body} if with_model else body)
    assert {answered(read, payload) for read in READERS} <= {200, 400, 404}


@PROPERTY
@given(
    st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode(errors="replace"))
)
def test_no_bytes_make_reading_a_body_raise_anything_but_an_answer(payload):
    assert {answered(read, payload) for read in READERS} <= {200, 400, 404}


def stored(payload):
    values = conversations.read_items(payload, strict=False)
    kept = items.from_array(values, "items", mint=counted(), accept=lambda _blob, _item_id: None)
    assert len(kept) == len(values)
    assert all(json.loads(bytes(one))["id"] for one in kept)


@PROPERTY
@given(st.lists(VALUES, max_size=3))
def test_no_json_makes_reading_items_raise_anything_but_an_answer(values):
    assert answered(stored, sent({"items": values})) in (200, 400, 404)


# Frames and turn requests


def test_a_frame_is_an_event_line_a_data_line_and_nothing_else():
    assert stream_events.frame("response.created", b'{"a":1}') == (
        b'event: response.created\ndata: {"a":1}\n\n'
    )


def test_a_lifecycle_event_carries_the_response_as_it_is():
    frame = stream_events.lifecycle("response.completed", b'{"id": "resp_1"}', 7)
    assert frame == (
        b"event: response.completed\n"
        b'data: {"type":"response.completed","response":{"id": "resp_1"},"sequence_number":7}\n\n'
    )
    assert stream_events.response_in(frame) == b'{"id": "resp_1"}'


def test_a_turn_request_is_read_as_it_was_written():
    asked = TurnRequest(
        response_id="resp_1",
        conversation_id="conv_1",
        body=msgspec.Raw(b'{"model": "m"}'),
        overlap=turn_requests.REJECT,
        asked_at=AT,
    )
    assert turn_requests.decode(turn_requests.encode(asked)) == asked
    shortest = b'{"response_id":"resp_1","conversation_id":"conv_1","body":{}}'
    assert turn_requests.decode(shortest).overlap == "queue"


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff", b'{"response_id":1}'])
def test_what_is_no_turn_request_is_said_to_be_none(payload):
    with pytest.raises(msgspec.DecodeError):
        turn_requests.decode(payload)
