import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.http import checks
from schemas.http.errors import (
    ApiError,
    Invalid,
    NotFound,
    Overloaded,
    ServerFault,
    TooLarge,
)
from schemas.http.metadata import metadata
from tests.builders import PROPERTY, raw
from tests.schemas.answers import invalid, refusal, unsupported

BAD_JSON = (
    "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. "
    "(Common errors include trailing commas, missing closing brackets, missing quotation marks, "
    "etc.)"
)


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":"b}',
        b" ",
        b"nul",
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1} {',
        b"[" * 100_000,
        b'{"a":01}',
        b'{"a":1e999}',
    ],
)
def test_a_body_that_is_no_json_is_refused(payload):
    assert refusal(checks.body, payload) == invalid(BAD_JSON, param=None, code="invalid_json")


@pytest.mark.parametrize(
    ("payload", "kind"),
    [(b"[]", "an array"), (b'"a"', "a string"), (b"1", "an integer"), (b"null", "null")],
)
def test_a_body_is_an_object(payload, kind):
    assert refusal(checks.body, payload) == invalid(
        f"Invalid type: expected an object, but got {kind} instead.",
        param=None,
        code="invalid_type",
    )


def test_an_empty_body_is_an_empty_object():
    assert checks.body(b"") == {}


def test_the_values_of_a_body_are_the_clients_bytes():
    given_fields = checks.body(b' { "a" : [1,  2.0] , "b":"\\u00e9" } ')
    assert {name: bytes(value) for name, value in given_fields.items()} == {
        "a": b"[1,  2.0]",
        "b": b'"\\u00e9"',
    }


KINDS = [
    ("{}", "an object"),
    ("[]", "an array"),
    ('"x"', "a string"),
    ("true", "a boolean"),
    ("false", "a boolean"),
    ("null", "null"),
    ("-12", "an integer"),
    ("1.5", "a decimal"),
    ("1E3", "a decimal"),
]


@pytest.mark.parametrize(("value", "kind"), KINDS)
@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (checks.text, "a string"),
        (checks.boolean, "a boolean"),
        (checks.integer, "an integer"),
        (checks.array, "an array"),
        (checks.fields, "an object"),
    ],
    ids=["text", "boolean", "integer", "array", "fields"],
)
def test_a_value_of_another_kind_is_named_with_both_kinds(check, expected, value, kind):
    given_value = msgspec.Raw(value.encode())
    if kind == expected:
        check(given_value, "store")
        return
    assert refusal(check, given_value, "store") == invalid(
        f"Invalid type for 'store': expected {expected}, but got {kind} instead.",
        param="store",
        code="invalid_type",
    )


@pytest.mark.parametrize(("value", "kind"), KINDS)
def test_a_number_is_an_integer_or_a_decimal(value, kind):
    given_value = msgspec.Raw(value.encode())
    if kind in ("an integer", "a decimal"):
        assert checks.number(given_value, "top_p", least=-1e9, most=1e9) == json.loads(value)
        return
    assert refusal(checks.number, given_value, "top_p", least=0, most=1) == invalid(
        f"Invalid type for 'top_p': expected a decimal, but got {kind} instead.",
        param="top_p",
        code="invalid_type",
    )


@pytest.mark.parametrize(
    ("value", "bounds", "message", "code"),
    [
        (
            1,
            {"least": 16},
            "Invalid 'p': integer below minimum value. Expected a value >= 16, but got 1 instead.",
            "integer_below_min_value",
        ),
        (
            1000,
            {"most": 100},
            (
                "Invalid 'p': integer above maximum value. "
                "Expected a value <= 100, but got 1000 instead."
            ),
            "integer_above_max_value",
        ),
    ],
)
def test_an_integer_out_of_bounds_is_named_with_its_bound(value, bounds, message, code):
    assert refusal(checks.integer, raw(value), "p", **bounds) == invalid(
        message, param="p", code=code
    )


@pytest.mark.parametrize(
    ("value", "message", "code"),
    [
        (
            2.5,
            (
                "Invalid 'temperature': decimal above maximum value. "
                "Expected a value <= 2, but got 2.5 instead."
            ),
            "decimal_above_max_value",
        ),
        (
            -1,
            (
                "Invalid 'temperature': decimal below minimum value. "
                "Expected a value >= 0, but got -1 instead."
            ),
            "decimal_below_min_value",
        ),
    ],
)
def test_a_decimal_out_of_bounds_is_named_with_its_bound(value, message, code):
    assert refusal(checks.number, raw(value), "temperature", least=0, most=2) == invalid(
        message, param="temperature", code=code
    )


def test_bounds_are_allowed_values():
    assert checks.integer(raw(16), "p", least=16, most=16) == 16
    assert checks.number(raw(2), "p", least=0, most=2) == 2
    assert checks.integer(raw(10**30), "p") == 10**30


@pytest.mark.parametrize(
    ("supported", "listed"),
    [
        (("auto", "disabled"), "'auto' and 'disabled'"),
        (("a", "b", "c"), "'a', 'b', and 'c'"),
    ],
)
def test_a_value_that_is_not_supported_is_answered_with_those_that_are(supported, listed):
    assert refusal(checks.one_of, "bogus", supported, "truncation") == invalid(
        f"Invalid value: 'bogus'. Supported values are: {listed}.",
        param="truncation",
        code="invalid_value",
    )
    assert checks.one_of(supported[0], supported, "truncation") == supported[0]


def test_an_array_that_is_too_long_is_answered_with_both_lengths():
    assert refusal(checks.array, raw([1] * 21), "items", most=20) == invalid(
        "Invalid 'items': array too long. Expected an array with maximum length 20, "
        "but got an array with length 21 instead.",
        param="items",
        code="array_above_max_length",
    )
    assert len(checks.array(raw([1] * 20), "items", most=20)) == 20


METADATA = [
    (
        {f"k{number}": "v" for number in range(17)},
        (
            "Invalid 'metadata': too many properties. Expected an object with at most "
            "16 properties, but got an object with 17 properties instead."
        ),
        "metadata",
        "object_above_max_properties",
    ),
    (
        {"k": "v" * 600},
        (
            "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, "
            "but got a string with length 600 instead."
        ),
        "metadata.k",
        "string_above_max_length",
    ),
    (
        {"k": 5},
        "Invalid type for 'metadata.k': expected a string, but got an integer instead.",
        "metadata.k",
        "invalid_type",
    ),
    (
        {"k": None},
        "Invalid type for 'metadata.k': expected a string, but got null instead.",
        "metadata.k",
        "invalid_type",
    ),
    (
        "x",
        "Invalid type for 'metadata': expected a metadata object, but got a string instead.",
        "metadata",
        "invalid_type",
    ),
    (
        [],
        "Invalid type for 'metadata': expected a metadata object, but got an array instead.",
        "metadata",
        "invalid_type",
    ),
]


@pytest.mark.parametrize(("value", "message", "param", "code"), METADATA)
def test_metadata_beyond_its_limits_is_refused(value, message, param, code):
    assert refusal(metadata, raw(value)) == invalid(message, param=param, code=code)


def test_a_metadata_key_that_is_too_long_is_shortened_in_the_answer():
    key = "k" * 70
    status, body = refusal(metadata, raw({key: "v"}))
    shortened = body["error"]["message"].partition("': '")[2].partition("' is")[0]
    assert shortened.startswith("kkkk")
    assert len(shortened) < 70
    assert (status, body) == invalid(
        f"Invalid property name in 'metadata': '{shortened}' is too long. "
        "Expected a string with maximum length 64, but got a string with length 70 instead.",
        param=f"metadata.{key}",
        code="property_name_above_max_length",
    )


def test_metadata_at_its_limits_is_taken():
    largest = {f"{number:064}": "é" * 512 for number in range(16)}
    assert metadata(raw(largest)) == largest
    assert metadata(raw(None)) == metadata(None) == {}


def test_an_id_begins_with_its_prefix():
    assert checks.named("conv_1", "conv", "conversation_id") == "conv_1"
    assert refusal(checks.named, "X", "conv", "conversation_id") == invalid(
        "Invalid 'conversation_id': 'X'. Expected an ID that begins with 'conv'.",
        param="conversation_id",
        code="invalid_value",
    )


@pytest.mark.parametrize("value", ["conv_.", "conv_*", "conv_>", "conv_ ", "conv_" + "x" * 60])
def test_an_id_that_could_be_no_subject_is_refused(value):
    assert refusal(checks.named, value, "conv", "conversation_id") == invalid(
        f"Invalid 'conversation_id': '{checks.told(value)}'. "
        "Expected an ID that begins with 'conv'.",
        param="conversation_id",
        code="invalid_value",
    )


@pytest.mark.parametrize(
    ("query", "included"),
    [
        ([], ()),
        ([("limit", "1"), ("order", "asc")], ()),
        ([("include[]", "web_search_call.results")], ("web_search_call.results",)),
        ([("include", "web_search_call.results")], ("web_search_call.results",)),
        (
            [
                ("include[]", "reasoning.encrypted_content"),
                ("include[]", "file_search_call.results"),
            ],
            ("reasoning.encrypted_content", "file_search_call.results"),
        ),
        ([("include[]", value) for value in checks.INCLUDABLE], checks.INCLUDABLE),
    ],
)
def test_a_query_asks_with_brackets_or_without(query, included):
    assert checks.include(query) == included


@pytest.mark.parametrize("name", ["include", "include[]"])
def test_what_cannot_be_included_is_answered_with_all_that_can(name):
    query = [(name, "web_search_call.results"), (name, "everything")]
    assert refusal(checks.include, query) == unsupported(
        "include[1]", "everything", checks.listed(checks.INCLUDABLE, "and")
    )


def test_a_missing_parameter_is_named():
    with pytest.raises(Invalid) as refused:
        raise checks.missing("model")
    assert (
        json.loads(refused.value.body())
        == invalid(
            "Missing required parameter: 'model'.",
            param="model",
            code="missing_required_parameter",
        )[1]
    )


def test_a_page_is_twenty_items_newest_first():
    assert checks.page([]) == (20, "desc", None)
    assert checks.page([("include[]", "x"), ("after", "")]) == (20, "desc", None)
    query = [("limit", "100"), ("order", "asc"), ("after", "msg_1")]
    assert checks.page(query) == (100, "asc", "msg_1")


@pytest.mark.parametrize(
    ("query", "message", "param", "code"),
    [
        (
            ("limit", "1000"),
            (
                "Invalid 'limit': integer above maximum value. "
                "Expected a value <= 100, but got 1000 instead."
            ),
            "limit",
            "integer_above_max_value",
        ),
        (
            ("limit", "0"),
            (
                "Invalid 'limit': integer below minimum value. "
                "Expected a value >= 1, but got 0 instead."
            ),
            "limit",
            "integer_below_min_value",
        ),
        (
            ("limit", "many"),
            "Invalid type for 'limit': expected an integer, but got a string instead.",
            "limit",
            "invalid_type",
        ),
        (
            ("limit", "9" * 5000),
            "Invalid type for 'limit': expected an integer, but got a string instead.",
            "limit",
            "invalid_type",
        ),
        (
            ("order", "up"),
            "Invalid value: 'up'. Supported values are: 'asc' and 'desc'.",
            "order",
            "invalid_value",
        ),
    ],
    ids=["limit_above", "limit_below", "limit_word", "limit_endless", "order"],
)
def test_a_page_that_cannot_be_is_refused(query, message, param, code):
    assert refusal(checks.page, [query]) == invalid(message, param=param, code=code)


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from(["limit", "order", "after"]), st.text(max_size=9))))
def test_no_query_raises_anything_but_an_answer(query):
    try:
        limit, order, _ = checks.page(query)
    except ApiError:
        return
    assert 1 <= limit <= 100
    assert order in ("asc", "desc")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Invalid("m"), 400, "invalid_request_error"),
        (NotFound("m"), 404, "invalid_request_error"),
        (TooLarge("m"), 413, "invalid_request_error"),
        (Overloaded("m"), 503, "server_error"),
        (ServerFault("m"), 500, "server_error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_four_keys_in_order(error, status, kind):
    assert (error.status, error.body()) == (
        status,
        b'{"error":{"message":"m","type":"%s","param":null,"code":null}}' % kind.encode(),
    )
