import json

import msgspec
import pytest

from schemas import item_types, items
from schemas.http import checks
from schemas.http.errors import ApiError
from tests.builders import counted, raw
from tests.schemas.answers import invalid


def anything(_blob, _item_id):
    """Accept every encrypted content."""


def refuse(blob, _item_id):
    raise checks.Invalid(f"not ours: {blob}", code="invalid_encrypted_content")


def kept(*values: bytes, accept=anything):
    """The stored forms of some items, as bytes."""
    raws = [msgspec.Raw(value) for value in values]
    return [bytes(one) for one in items.from_array(raws, "input", mint=counted(), accept=accept)]


def refusal(*values: object, param="input", accept=anything):
    with pytest.raises(ApiError) as refused:
        items.from_array(map(raw, values), param, mint=counted(), accept=accept)
    return refused.value.status, json.loads(refused.value.body())


STORED = {
    "easy": (
        b'{"role":"user","content":"Hello!"}',
        (
            b'{"id":"msg_1","type":"message","status":"completed",'
            b'"content":[{"type":"input_text","text":"Hello!"}],"role":"user"}'
        ),
    ),
    "easy_system": (
        b'{"role":"system","content":"s"}',
        (
            b'{"id":"msg_1","type":"message","status":"completed",'
            b'"content":[{"type":"input_text","text":"s"}],"role":"system"}'
        ),
    ),
    "easy_assistant": (
        b'{"role":"assistant","content":"hello","phase":"final_answer"}',
        (
            b'{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text",'
            b'"annotations":[],"logprobs":[],"text":"hello"}],"phase":"final_answer",'
            b'"role":"assistant"}'
        ),
    ),
    "input_form": (
        b'{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}',
        (
            b'{"id":"msg_1","type":"message","status":"completed",'
            b'"content":[{"type":"input_text","text":"hi"}],"role":"user"}'
        ),
    ),
    "null_type_and_id": (
        b'{"id":null,"type":null,"status":null,"role":"developer","content":[]}',
        b'{"id":"msg_1","type":"message","status":"completed","content":[],"role":"developer"}',
    ),
    "parts": (
        (
            b'{"role":"user","content":[{"type":"input_text","text":"What is this?"},'
            b'{"type":"input_image","detail":"auto","file_id":null,"image_url":"https://x.test/c.png"},'
            b'{"type":"input_file","file_id":"file-abc123","filename":"a.pdf"}]}'
        ),
        (
            b'{"id":"msg_1","type":"message","status":"completed","content":[{"type":"input_text",'
            b'"text":"What is this?"},{"type":"input_image","detail":"auto","file_id":null,'
            b'"image_url":"https://x.test/c.png"},{"type":"input_file","file_id":"file-abc123",'
            b'"filename":"a.pdf"}],"role":"user"}'
        ),
    ),
    "assistant_as_it_was_answered": (
        (
            b'{"id":"msg_04","type":"message","status":"completed","content":[{"type":"output_text",'
            b'"annotations":[],"logprobs":[],"text":"Hi! How can I help?"}],"phase":"final_answer",'
            b'"role":"assistant"}'
        ),
        None,
    ),
    "incomplete_stays_incomplete": (
        (
            b'{"id":"msg_04","type":"message","status":"incomplete","content":[{"type":"output_text",'
            b'"annotations":[],"logprobs":[],"text":"Hi"}],"role":"assistant"}'
        ),
        None,
    ),
    "refusal": (
        (
            b'{"id":"msg_0c","type":"message","status":"completed",'
            b'"content":[{"type":"refusal","refusal":"I cannot."}],"role":"assistant"}'
        ),
        None,
    ),
    "annotations_and_logprobs": (
        (
            b'{"id":"msg_04","type":"message","status":"completed","content":[{"type":"output_text",'
            b'"annotations":[{"type":"url_citation","url":"https://x.test","start_index":0}],'
            b'"logprobs":[{"token":"Hi","logprob":-0.25,"bytes":[72,105],"top_logprobs":[]}],'
            b'"text":"Hi"}],"role":"assistant"}'
        ),
        None,
    ),
    "picture_without_detail": (
        (
            b'{"role":"user","content":[{"type":"input_image","image_url":"https://x.test/c.png"},'
            b'{"type":"computer_screenshot","detail":null,"file_id":"file-1"}]}'
        ),
        (
            b'{"id":"msg_1","type":"message","status":"completed","content":[{"type":"input_image",'
            b'"image_url":"https://x.test/c.png","detail":"auto"},{"type":"computer_screenshot",'
            b'"detail":"auto","file_id":"file-1"}],"role":"user"}'
        ),
    ),
    "phase_of_a_user_null": (
        b'{"role":"user","content":[],"phase":null}',
        (
            b'{"id":"msg_1","type":"message","status":"completed","content":[],"phase":null,'
            b'"role":"user"}'
        ),
    ),
    "output_text_with_nulls": (
        b'{"role":"assistant","content":[{"type":"output_text","text":"x","annotations":null}]}',
        (
            b'{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text",'
            b'"text":"x","annotations":[],"logprobs":[]}],"role":"assistant"}'
        ),
    ),
    "function_call": (
        b'{"type":"function_call","call_id":"call_1","name":"get_weather","arguments":"{}"}',
        (
            b'{"id":"fc_1","type":"function_call","status":"completed","arguments":"{}",'
            b'"call_id":"call_1","name":"get_weather"}'
        ),
    ),
    "function_call_with_nulls": (
        (
            b'{"type":"function_call","id":"fc_7","call_id":"call_1","name":"a","arguments":"{}",'
            b'"status":null,"namespace":null,"caller":null,"created_by":"me"}'
        ),
        (
            b'{"id":"fc_7","type":"function_call","status":"completed","arguments":"{}",'
            b'"call_id":"call_1","name":"a","namespace":null,"caller":null,"created_by":"me"}'
        ),
    ),
    "function_call_output": (
        b'{"type":"function_call_output","call_id":"call_1","output":"ok"}',
        (
            b'{"id":"fc_1","type":"function_call_output","status":"completed","output":"ok",'
            b'"call_id":"call_1"}'
        ),
    ),
    "function_call_output_in_parts": (
        (
            b'{"type":"function_call_output","id":"fco_9","call_id":"call_1",'
            b'"output":[{"type":"input_text","text":"4 degrees"}]}'
        ),
        (
            b'{"id":"fco_9","type":"function_call_output","status":"completed",'
            b'"output":[{"type":"input_text","text":"4 degrees"}],"call_id":"call_1"}'
        ),
    ),
    "function_call_output_of_an_abort": (
        (
            b'{"id":"fc_9","type":"function_call_output","status":"incomplete","output":"",'
            b'"call_id":"call_1"}'
        ),
        None,
    ),
    "reasoning": (
        b'{"id":"rs_07","type":"reasoning","summary":[{"type":"summary_text","text":"Looking."}]}',
        None,
    ),
    "reasoning_encrypted": (
        (
            b'{"id":"rs_17","type":"reasoning","summary":[],"encrypted_content":"gAAAAABo...opaque",'
            b'"content":null,"status":null}'
        ),
        None,
    ),
    "compaction": (b'{"id":"cmp_08","type":"compaction","encrypted_content":"gAAAAABo"}', None),
    "compaction_without_id": (
        b'{"type":"compaction","encrypted_content":"gAAAAABo"}',
        b'{"id":"cmp_1","type":"compaction","encrypted_content":"gAAAAABo"}',
    ),
}


@pytest.mark.parametrize(("sent", "stored"), STORED.values(), ids=STORED)
def test_an_item_is_stored_in_the_form_of_the_contract(sent, stored):
    assert kept(sent) == [stored or sent]


@pytest.mark.parametrize(("sent", "stored"), STORED.values(), ids=STORED)
def test_a_stored_item_that_is_sent_again_is_stored_as_it_is(sent, stored):
    assert kept(stored or sent) == [stored or sent]


CONTENTS = {
    "escapes": b'[{"type":"input_text","text":"caf\\u00e9 \\ud83d\\ude00 \\/ \\n"}]',
    "spaces": b'[ {"type" : "input_text",\n\t"text":"  a  b  "} ]',
    "order_of_keys": b'[{"text":"a","zzz":1,"type":"input_text","aaa":{"b":1,"a":2}}]',
    "numbers": b'[{"type":"input_text","text":"a","n":1.50,"m":1e2,"k":12345678901234567890123}]',
    "utf8": '[{"type":"input_text","text":"héllo 😀 \u2028"}]'.encode(),
    "nulls": b'[{"type":"input_image","image_url":null,"file_id":null,"detail":"auto"}]',
    "every_kind": (
        b'[{"type":"input_text","text":"a"},{"type":"text","text":"a"},'
        b'{"type":"summary_text","text":"a"},{"type":"reasoning_text","text":"a"},'
        b'{"type":"refusal","refusal":"a"},{"type":"output_text","annotations":[],"logprobs":[],'
        b'"text":"a"},{"type":"computer_screenshot","detail":"original","file_id":"file-1"},'
        b'{"type":"input_file","file_data":"data:text/plain;base64,YQ==","detail":null}]'
    ),
    "cache": b'[{"type":"input_text","text":"a","prompt_cache_breakpoint":{"type":"x"}}]',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_content_is_carried_byte_for_byte(content):
    sent = b'{"role":"user","content":%b}' % content
    prefix = b'{"id":"msg_1","type":"message","status":"completed","content":'
    assert kept(sent) == [prefix + content + b',"role":"user"}']


def test_a_string_content_keeps_the_spelling_of_its_text():
    assert kept(b'{"role":"user","content":"caf\\u00e9 \\/ "}') == [
        (
            b'{"id":"msg_1","type":"message","status":"completed",'
            b'"content":[{"type":"input_text","text":"caf\\u00e9 \\/ "}],"role":"user"}'
        )
    ]


def test_a_part_beside_one_that_is_completed_keeps_its_bytes():
    sent = (
        b'{"role":"assistant","content":[{"type":"refusal",  "refusal":"\\u00e9"},'
        b'{"type":"output_text","text":"a"}]}'
    )
    assert kept(sent) == [
        (
            b'{"id":"msg_1","type":"message","status":"completed","content":[{"type":"refusal",  '
            b'"refusal":"\\u00e9"},{"type":"output_text","text":"a","annotations":[],"logprobs":[]}],'
            b'"role":"assistant"}'
        )
    ]


def test_items_keep_their_order_and_get_ids_of_their_own():
    sent = [
        b'{"role":"user","content":"a"}',
        b'{"type":"function_call","call_id":"c","name":"n","arguments":""}',
        b'{"role":"user","content":"b"}',
    ]
    assert [json.loads(one)["id"] for one in kept(*sent)] == ["msg_1", "fc_2", "msg_3"]


KNOWN = ", ".join(f"'{name}'" for name in item_types.NAMES[:-1]) + ", and 'item_reference'"

REFUSED = {
    "not_an_object": (
        "x",
        "Invalid type for 'input[0]': expected an object, but got a string instead.",
        "input[0]",
        "invalid_type",
    ),
    "unknown_type": (
        {"type": "telepathy"},
        f"Invalid value: 'telepathy'. Supported values are: {KNOWN}.",
        "input[0].type",
        "invalid_value",
    ),
    "type_of_another_kind": (
        {"type": 5},
        "Invalid type for 'input[0].type': expected a string, but got an integer instead.",
        "input[0].type",
        "invalid_type",
    ),
    "bad_role": (
        {"role": "king", "content": "x"},
        (
            "Invalid value: 'king'. Supported values are: "
            "'assistant', 'system', 'developer', and 'user'."
        ),
        "input[0].role",
        "invalid_value",
    ),
    "no_role": (
        {"type": "message", "content": "x"},
        "Missing required parameter: 'input[0].role'.",
        "input[0].role",
        "missing_required_parameter",
    ),
    "nothing": (
        {},
        "Missing required parameter: 'input[0].role'.",
        "input[0].role",
        "missing_required_parameter",
    ),
    "no_content": (
        {"role": "user"},
        "Missing required parameter: 'input[0].content'.",
        "input[0].content",
        "missing_required_parameter",
    ),
    "content_of_another_kind": (
        {"role": "user", "content": 5},
        (
            "Invalid type for 'input[0].content': expected one of an array of objects or a string, "
            "but got an integer instead."
        ),
        "input[0].content",
        "invalid_type",
    ),
    "part_of_another_kind": (
        {"role": "user", "content": ["x"]},
        "Invalid type for 'input[0].content[0]': expected an object, but got a string instead.",
        "input[0].content[0]",
        "invalid_type",
    ),
    "part_without_type": (
        {"role": "user", "content": [{"text": "x"}]},
        "Missing required parameter: 'input[0].content[0].type'.",
        "input[0].content[0].type",
        "missing_required_parameter",
    ),
    "part_of_unknown_type": (
        {"role": "user", "content": [{"type": "input_text", "text": ""}, {"type": "smell"}]},
        (
            "Invalid value: 'smell'. Supported values are: 'input_text', 'output_text', 'text', "
            "'summary_text', 'reasoning_text', 'refusal', 'input_image', 'computer_screenshot', "
            "and 'input_file'."
        ),
        "input[0].content[1].type",
        "invalid_value",
    ),
    "part_without_text": (
        {"role": "user", "content": [{"type": "input_text"}]},
        "Missing required parameter: 'input[0].content[0].text'.",
        "input[0].content[0].text",
        "missing_required_parameter",
    ),
    "text_of_another_kind": (
        {"role": "user", "content": [{"type": "input_text", "text": 5}]},
        (
            "Invalid type for 'input[0].content[0].text': "
            "expected a string, but got an integer instead."
        ),
        "input[0].content[0].text",
        "invalid_type",
    ),
    "id_of_another_type": (
        {"id": "x", "role": "user", "content": "x"},
        "Invalid 'input[0].id': 'x'. Expected an ID that begins with 'msg'.",
        "input[0].id",
        "invalid_value",
    ),
    "id_of_another_kind": (
        {"id": 5, "role": "user", "content": "x"},
        "Invalid type for 'input[0].id': expected a string, but got an integer instead.",
        "input[0].id",
        "invalid_type",
    ),
    "call_id_of_another_kind": (
        {"type": "function_call", "call_id": None, "name": "n", "arguments": "{}"},
        "Invalid type for 'input[0].call_id': expected a string, but got null instead.",
        "input[0].call_id",
        "invalid_type",
    ),
    "arguments_of_another_kind": (
        {"type": "function_call", "call_id": "c", "name": "n", "arguments": {}},
        "Invalid type for 'input[0].arguments': expected a string, but got an object instead.",
        "input[0].arguments",
        "invalid_type",
    ),
    "no_output": (
        {"type": "function_call_output", "call_id": "c"},
        "Missing required parameter: 'input[0].output'.",
        "input[0].output",
        "missing_required_parameter",
    ),
    "summary_of_another_kind": (
        {"type": "reasoning", "id": "rs_1", "summary": "x"},
        "Invalid type for 'input[0].summary': expected an array, but got a string instead.",
        "input[0].summary",
        "invalid_type",
    ),
    "no_encrypted_content": (
        {"type": "compaction"},
        "Missing required parameter: 'input[0].encrypted_content'.",
        "input[0].encrypted_content",
        "missing_required_parameter",
    ),
    "encrypted_content_of_another_kind": (
        {"type": "compaction", "encrypted_content": 5},
        (
            "Invalid type for 'input[0].encrypted_content': "
            "expected a string, but got an integer instead."
        ),
        "input[0].encrypted_content",
        "invalid_type",
    ),
    "reference_without_id": (
        {"type": "item_reference"},
        "Missing required parameter: 'input[0].id'.",
        "input[0].id",
        "missing_required_parameter",
    ),
}


@pytest.mark.parametrize(("item", "message", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_an_item_that_is_none_is_refused_where_it_is_wrong(item, message, param, code):
    assert refusal(item) == invalid(message, param=param, code=code)


def test_the_place_of_a_fault_is_named_by_array_and_index():
    good = {"role": "user", "content": "x"}
    assert refusal(good, {"role": "user"}, param="items")[1]["error"]["param"] == "items[1].content"


@pytest.mark.parametrize("field", ["call_id", "role", "name"])
@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "x"},
        {"type": "reasoning", "summary": []},
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
    ],
    ids=["message", "reasoning", "compaction", "output"],
)
def test_every_item_that_is_stored_can_be_read_by_the_rules(item, field):
    given = raw({**item, field: 5})
    try:
        (stored,) = items.from_array([given], "input", mint=counted(), accept=anything)
    except ApiError:
        return
    assert items.head(stored).type == item.get("type", "message")


@pytest.mark.parametrize("part", [5, None, "x", [], {"type": "input_text", "text": 5}, {}])
def test_the_parts_of_a_tool_output_are_parts(part):
    item = {"type": "function_call_output", "call_id": "c", "output": [part]}
    status, body = refusal(item)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert body["error"]["param"].startswith("input[0].output[0]")


def test_only_compactions_are_asked_about_and_what_is_refused_is_refused():
    asked = []
    kept(
        b'{"type":"compaction","encrypted_content":"one"}',
        b'{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"two"}',
        accept=lambda blob, item_id: asked.append((blob, item_id)),
    )
    assert asked == [("one", "cmp_1")]
    status, body = refusal({"type": "compaction", "encrypted_content": "one"}, accept=refuse)
    assert (status, body["error"]["code"]) == (400, "invalid_encrypted_content")


def test_a_string_input_is_one_user_message():
    stored = items.from_text(msgspec.Raw(b'"caf\\u00e9"'), mint=counted())
    assert bytes(stored) == (
        b'{"id":"msg_1","type":"message","status":"completed",'
        b'"content":[{"type":"input_text","text":"caf\\u00e9"}],"role":"user"}'
    )


def test_what_a_model_wrote_is_adopted_under_an_id_of_ours_and_otherwise_as_it_is():
    written = msgspec.Raw(
        b'{"type":"message","id":"theirs","role":"assistant","content":[ {"a":1.0} ],"status":null}'
    )
    assert bytes(items.adopted(written, "msg_1")) == (
        b'{"id":"msg_1","type":"message","role":"assistant","content":[ {"a":1.0} ],'
        b'"status":"completed"}'
    )
    unknown = msgspec.Raw(b'{"id":"tp_1","type":"telepathy","thought":1}')
    assert bytes(items.adopted(unknown, "tp_2")) == (
        b'{"id":"tp_2","type":"telepathy","thought":1}'
    )


@pytest.mark.parametrize(
    ("item", "prefix"),
    [
        ({"type": "message", "id": "x_1"}, "msg"),
        ({"type": "function_call"}, "fc"),
        ({"type": "telepathy", "id": "tp_1"}, "tp"),
        ({"type": "telepathy"}, "item"),
    ],
)
def test_the_prefix_of_an_item_is_that_of_its_type(item, prefix):
    assert items.prefix_of(raw(item)) == prefix


def test_a_compaction_of_ours_is_stored_in_the_form_of_the_contract():
    made = items.compaction("cmp_1", "blob")
    assert bytes(made) == b'{"id":"cmp_1","type":"compaction","encrypted_content":"blob"}'
    assert items.sealed(made) == "blob"
    assert items.head(made) == items.Head("compaction", "cmp_1")
