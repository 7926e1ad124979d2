"""Bodies of requests: what is taken, what is refused, and that nothing else ever happens."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import items, turn_requests
from schemas.http import conversations, responses, stream_events
from schemas.turn_requests import TurnRequest
from services.conversation import refusals
from tests.builders import AT, PROPERTY, counted, raw
from tests.schemas.answers import answered, invalid, refusal

MODEL = {"model": "m", "input": "x"}


def sent(value):
    return bytes(raw(value))


def created(**fields: object):
    return responses.read_create(sent({**MODEL, **fields}))


def refused(**fields: object):
    return refusal(responses.read_create, sent({**MODEL, **fields}))


# Conversations


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
    given_metadata, listed = conversations.read_create(sent(body))
    assert (given_metadata, len(listed)) == (metadata, count)


def test_an_empty_body_creates_a_conversation():
    assert conversations.read_create(b"") == ({}, [])


TOO_MANY = invalid(
    "Invalid 'items': array too long. Expected an array with maximum length 20, "
    "but got an array with length 21 instead.",
    param="items",
    code="array_above_max_length",
)


def test_more_than_twenty_items_are_refused_by_either_door():
    body = sent({"items": [{}] * 21})
    assert refusal(conversations.read_create, body) == TOO_MANY
    assert refusal(conversations.read_items, body) == TOO_MANY
    assert len(conversations.read_items(sent({"items": [{}] * 20}))) == 20


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
    assert refusal(read, sent(body)) == invalid(message, param=param, code=code)


def test_an_update_may_empty_the_metadata():
    assert conversations.read_update(b'{"metadata":null}') == {}
    assert conversations.read_update(b'{"metadata":{"a":""}}') == {"a": ""}


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


# Responses


def test_a_minimal_request_is_read_with_its_defaults():
    read = created()
    assert (
        read.model,
        bytes(read.input),
        read.conversation,
        read.previous_response_id,
        read.store,
        read.stream,
        read.parameters,
    ) == ("m", b'"x"', None, None, True, False, {"model": raw("m")})


def test_parameters_are_kept_as_the_clients_bytes_without_state_and_nulls():
    body = (
        b'{"model":"m", "input":[ ], "temperature":1.50, "store":false, "stream":true,'
        b'"stream_options":{}, "metadata":null, "tools":[ {"type":"web_search"} ], "zzz":"\\u00e9"}'
    )
    read = responses.read_create(body)
    assert {name: bytes(value) for name, value in read.parameters.items()} == {
        "model": b'"m"',
        "temperature": b"1.50",
        "stream": b"true",
        "tools": b'[ {"type":"web_search"} ]',
        "zzz": b'"\\u00e9"',
    }
    assert (read.store, read.stream, bytes(read.input)) == (False, True, b"[ ]")


@pytest.mark.parametrize("value", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_is_named_by_id_or_object(value):
    assert created(conversation=value).conversation == "conv_1"


def test_every_nullable_field_may_be_null():
    names = [
        "conversation",
        "previous_response_id",
        "instructions",
        "context_management",
        "truncation",
        "include",
        "metadata",
        "max_output_tokens",
        "max_tool_calls",
        "temperature",
        "top_p",
        "store",
        "stream",
        "stream_options",
        "background",
        "text",
        "reasoning",
        "tools",
        "service_tier",
        "top_logprobs",
        "parallel_tool_calls",
    ]
    assert created(**dict.fromkeys(names)) == created()


REFUSED = {
    "no_model": (
        {"model": None},
        "Missing required parameter: 'model'.",
        "model",
        "missing_required_parameter",
    ),
    "model_of_another_kind": (
        {"model": 5},
        "Invalid type for 'model': expected a string, but got an integer instead.",
        "model",
        "invalid_type",
    ),
    "nothing_to_answer": (
        {"input": None},
        (
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' "
            "must be provided."
        ),
        None,
        "missing_required_parameter",
    ),
    "input_of_another_kind": (
        {"input": 5},
        (
            "Invalid type for 'input': expected one of a string or array of input items, "
            "but got an integer instead."
        ),
        "input",
        "invalid_type",
    ),
    "endless_input": (
        {"input": "x" * 10_485_761},
        (
            "Invalid 'input': string too long. Expected a string with maximum length 10485760, "
            "but got a string with length 10485761 instead."
        ),
        "input",
        "string_above_max_length",
    ),
    "conversation_of_another_prefix": (
        {"conversation": "abc"},
        "Invalid 'conversation': 'abc'. Expected an ID that begins with 'conv'.",
        "conversation",
        "invalid_value",
    ),
    "conversation_object_without_id": (
        {"conversation": {}},
        "Missing required parameter: 'conversation.id'.",
        "conversation.id",
        "missing_required_parameter",
    ),
    "both_states": (
        {"conversation": "conv_1", "previous_response_id": "resp_1"},
        (
            "Mutually exclusive parameters: ''. Ensure you are only providing one of: "
            "'pre..._id' or 'conversation'."
        ),
        None,
        "mutually_exclusive_parameters",
    ),
    "store": (
        {"store": "x"},
        "Invalid type for 'store': expected a boolean, but got a string instead.",
        "store",
        "invalid_type",
    ),
    "stream": (
        {"stream": 1},
        "Invalid type for 'stream': expected a boolean, but got an integer instead.",
        "stream",
        "invalid_type",
    ),
    "parallel_tool_calls": (
        {"parallel_tool_calls": "yes"},
        "Invalid type for 'parallel_tool_calls': expected a boolean, but got a string instead.",
        "parallel_tool_calls",
        "invalid_type",
    ),
    "truncation": (
        {"truncation": "bogus"},
        "Invalid value: 'bogus'. Supported values are: 'auto' and 'disabled'.",
        "truncation",
        "invalid_value",
    ),
    "max_output_tokens": (
        {"max_output_tokens": 1},
        (
            "Invalid 'max_output_tokens': integer below minimum value. "
            "Expected a value >= 16, but got 1 instead."
        ),
        "max_output_tokens",
        "integer_below_min_value",
    ),
    "max_tool_calls": (
        {"max_tool_calls": 0},
        (
            "Invalid 'max_tool_calls': integer below minimum value. "
            "Expected a value >= 1, but got 0 instead."
        ),
        "max_tool_calls",
        "integer_below_min_value",
    ),
    "temperature": (
        {"temperature": 3},
        (
            "Invalid 'temperature': decimal above maximum value. "
            "Expected a value <= 2, but got 3 instead."
        ),
        "temperature",
        "decimal_above_max_value",
    ),
    "top_p": (
        {"top_p": "x"},
        "Invalid type for 'top_p': expected a decimal, but got a string instead.",
        "top_p",
        "invalid_type",
    ),
    "top_logprobs": (
        {"top_logprobs": 21},
        (
            "Invalid 'top_logprobs': integer above maximum value. "
            "Expected a value <= 20, but got 21 instead."
        ),
        "top_logprobs",
        "integer_above_max_value",
    ),
    "instructions": (
        {"instructions": 5},
        "Invalid type for 'instructions': expected a string, but got an integer instead.",
        "instructions",
        "invalid_type",
    ),
    "metadata": (
        {"metadata": {"k": 5}},
        "Invalid type for 'metadata.k': expected a string, but got an integer instead.",
        "metadata.k",
        "invalid_type",
    ),
    "service_tier": (
        {"service_tier": "gold"},
        (
            "Invalid value: 'gold'. Supported values are: 'auto', 'default', 'flex', 'scale', "
            "'priority', 'fast', and 'ultrafast'."
        ),
        "service_tier",
        "invalid_value",
    ),
    "include": (
        {"include": [5]},
        "Invalid type for 'include[0]': expected a string, but got an integer instead.",
        "include[0]",
        "invalid_type",
    ),
    "tools": (
        {"tools": {}},
        "Invalid type for 'tools': expected an array, but got an object instead.",
        "tools",
        "invalid_type",
    ),
    "tool_without_type": (
        {"tools": [{}]},
        "Missing required parameter: 'tools[0].type'.",
        "tools[0].type",
        "missing_required_parameter",
    ),
    "function_without_name": (
        {"tools": [{"type": "web_search"}, {"type": "function"}]},
        "Missing required parameter: 'tools[1].name'.",
        "tools[1].name",
        "missing_required_parameter",
    ),
    "reasoning": (
        {"reasoning": "high"},
        "Invalid type for 'reasoning': expected an object, but got a string instead.",
        "reasoning",
        "invalid_type",
    ),
    "previous_of_another_prefix": (
        {"previous_response_id": "abc"},
        "Invalid 'previous_response_id': 'abc'. Expected an ID that begins with 'resp'.",
        "previous_response_id",
        "invalid_value",
    ),
}


@pytest.mark.parametrize(("fields", "message", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_cannot_be_is_refused(fields, message, param, code):
    assert refused(**fields) == invalid(message, param=param, code=code)


@pytest.mark.parametrize("name", ["input", "previous_response_id", "prompt", "conversation"])
def test_any_one_source_of_input_is_enough(name):
    value = {"previous_response_id": "resp_1", "conversation": "conv_1", "prompt": {"id": "p"}}
    body = {"model": "m", name: value.get(name, "x")}
    assert responses.read_create(sent(body)).model == "m"


def test_unknown_parameters_are_tolerated():
    assert created(unheard_of={"a": 1}).parameters["unheard_of"] == raw({"a": 1})


WRONG = {
    "include": 5,
    "tools": 5,
    "metadata": 5,
    "text": 5,
    "temperature": 5,
    "top_p": 5,
    "parallel_tool_calls": 5,
    "stream": 5,
    "stream_options": 5,
    "max_output_tokens": 5,
    "max_tool_calls": 0,
    "reasoning": 5,
    "user": 5,
    "safety_identifier": 5,
    "prompt_cache_key": 5,
    "truncation": 5,
    "instructions": 5,
    "store": 5,
    "service_tier": 5,
    "top_logprobs": 500,
}
"""Wrong values in the contract's order of checks (contract 1.3)."""


@PROPERTY
@given(st.sets(st.sampled_from(list(WRONG)), min_size=1), st.randoms(use_true_random=False))
def test_the_same_wrong_request_yields_the_same_error_whatever_the_order_of_its_keys(names, random):
    shuffled = sorted(names)
    random.shuffle(shuffled)
    _, body = refused(**{name: WRONG[name] for name in shuffled})
    assert body["error"]["param"] == next(name for name in WRONG if name in names)


def test_model_comes_before_input_and_input_before_state():
    _, body = refusal(responses.read_create, b"{}")
    assert body["error"]["param"] == "model"
    _, body = refused(input=5, conversation="x", temperature=9)
    assert body["error"]["param"] == "input"
    _, body = refused(conversation="conv_1", previous_response_id="resp_1", temperature=9)
    assert body["error"]["param"] == "temperature"


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
            *WRONG,
            *("model", "input", "conversation", "previous_response_id", "prompt", "background"),
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


READERS = (
    conversations.read_create,
    conversations.read_update,
    conversations.read_items,
    responses.read_create,
)


@PROPERTY
@given(BODIES, st.booleans())
def test_no_json_makes_reading_a_body_raise_anything_but_an_answer(body, with_model):
    payload = sent({**MODEL, **body} if with_model else body)
    assert {answered(read, payload) for read in READERS} <= {200, 400}


@PROPERTY
@given(
    st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode(errors="replace"))
)
def test_no_bytes_make_reading_a_body_raise_anything_but_an_answer(payload):
    assert {answered(read, payload) for read in READERS} <= {200, 400}


def stored(payload):
    values = conversations.read_items(payload)
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
