import json

import msgspec
import pytest

from schemas import item_fields, item_types, items
from schemas.http.errors import ApiError
from tests.builders import counted, raw
from tests.schemas.answers import invalid
from tests.schemas.item_shapes import STORED, named

SAMPLES = {item["type"]: item for item in reversed(STORED)}


def refusal(item: object):
    with pytest.raises(ApiError) as refused:
        items.from_array([raw(item)], "input", mint=counted(), accept=lambda _blob, _item_id: None)
    return refused.value.status, json.loads(refused.value.body())


def taken(item: object):
    (stored,) = items.from_array(
        [raw(item)], "input", mint=counted(), accept=lambda _blob, _item_id: None
    )
    return json.loads(bytes(stored))


REQUIRED = [
    (name, field)
    for name, shape in item_types.TYPES.items()
    for field in (*shape.group.required, *(["status"] if shape.status_sent else []))
]


@pytest.mark.parametrize(("name", "field"), REQUIRED)
def test_an_item_without_a_required_field_is_refused(name, field):
    item = {key: value for key, value in SAMPLES[name].items() if key != field}
    assert refusal(item) == invalid(
        f"Missing required parameter: 'input[0].{field}'.",
        param=f"input[0].{field}",
        code="missing_required_parameter",
    )


ANYTHING = {("tool_search_call", "arguments")}


@pytest.mark.parametrize(("name", "field"), [pair for pair in REQUIRED if pair not in ANYTHING])
@pytest.mark.parametrize("value", [None, 1.5, [1], {"type": 1}], ids=repr)
def test_a_required_field_of_another_kind_is_refused_at_its_place(name, field, value):
    status, body = refusal({**SAMPLES[name], field: value})
    assert status == 400
    assert body["error"]["param"].startswith(f"input[0].{field}")


OPTIONAL = [
    (name, field)
    for name, shape in item_types.TYPES.items()
    for field in sorted(shape.group.fields.keys() - {*shape.group.required})
]


@pytest.mark.parametrize(("name", "field"), OPTIONAL)
def test_an_optional_field_may_be_null_and_is_stored_so(name, field):
    item = {**SAMPLES[name], field: None}
    added = {"pending_safety_checks": [], "execution": "server"}
    assert taken(item) == {**item, field: added.get(field)}


@pytest.mark.parametrize(("name", "field"), OPTIONAL)
def test_an_optional_field_of_another_kind_is_refused_at_its_place(name, field):
    status, body = refusal({**SAMPLES[name], field: 1.5})
    assert (status, body["error"]["code"]) == (400, "invalid_type")
    assert body["error"]["param"].startswith(f"input[0].{field}")


@pytest.mark.parametrize("item", STORED, ids=named(STORED))
def test_a_field_nobody_knows_is_stored_as_it_is(item):
    more = {**item, "invented_next_month": {"a": [1, None]}}
    assert taken(more) == more


# Ids


@pytest.mark.parametrize(
    ("name", "shape"), [(n, s) for n, s in item_types.TYPES.items() if s.prefixes]
)
def test_an_id_begins_as_its_type_wants(name, shape):
    assert refusal({**SAMPLES[name], "id": "xx_1"}) == invalid(
        f"Invalid 'input[0].id': 'xx_1'. Expected an ID that begins with '{shape.prefix}'.",
        param="input[0].id",
        code="invalid_value",
    )


@pytest.mark.parametrize("name", ["program", "program_output", "configuration_update"])
def test_of_some_types_any_id_is_taken_that_is_one(name):
    assert taken({**SAMPLES[name], "id": "whatever-1"})["id"] == "whatever-1"
    assert refusal({**SAMPLES[name], "id": "a b"}) == invalid(
        "Invalid 'input[0].id': 'a b'. Expected an ID that contains letters, numbers, "
        "underscores, or dashes, but this value contained additional characters.",
        param="input[0].id",
        code="invalid_value",
    )


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("function_call_output", "fc_1"),
        ("function_call_output", "fco_1"),
        ("local_shell_call_output", "lsho_1"),
        ("local_shell_call_output", "call_Qx9v"),
    ],
)
def test_ids_of_outputs_have_several_beginnings(name, given):
    assert taken({**SAMPLES[name], "id": given})["id"] == given


# Statuses


@pytest.mark.parametrize(
    ("name", "supported"),
    [
        ("message", "'in_progress', 'completed', and 'incomplete'"),
        ("reasoning", "'in_progress', 'completed', and 'incomplete'"),
        ("apply_patch_call_output", "'completed' and 'failed'"),
        ("mcp_call", "'in_progress', 'completed', 'incomplete', 'calling', and 'failed'"),
    ],
)
def test_a_status_is_one_of_its_type(name, supported):
    assert refusal({**SAMPLES[name], "status": "done"}) == invalid(
        f"Invalid value: 'done'. Supported values are: {supported}.",
        param="input[0].status",
        code="invalid_value",
    )


def test_an_output_of_an_abort_may_say_it_is_incomplete():
    item = {**SAMPLES["function_call_output"], "status": "incomplete"}
    assert taken(item) == item


# Limits


def length(param: str, most: int, given: int):
    return invalid(
        f"Invalid '{param}': string too long. Expected a string with maximum length {most}, "
        f"but got a string with length {given} instead.",
        param=param,
        code="string_above_max_length",
    )


WITH_CALL_ID = [name for name, shape in item_types.TYPES.items() if "call_id" in shape.group.fields]


@pytest.mark.parametrize("name", WITH_CALL_ID)
def test_a_call_id_has_1_to_64_characters(name):
    item = SAMPLES[name]
    longest = {**item, "call_id": "é" * 64, "execution": "client"}
    assert taken(longest) == longest
    assert refusal({**item, "call_id": "é" * 65}) == length("input[0].call_id", 64, 65)
    assert refusal({**item, "call_id": ""}) == invalid(
        "Invalid 'input[0].call_id': empty string. Expected a string with minimum length 1, "
        "but got an empty string instead.",
        param="input[0].call_id",
        code="empty_string",
    )


@pytest.mark.parametrize("name", ["function_call", "custom_tool_call", "function_call_output"])
def test_a_namespace_has_1_to_64_characters(name):
    item = SAMPLES[name]
    assert taken({**item, "namespace": "n" * 64})["namespace"] == "n" * 64
    assert refusal({**item, "namespace": "n" * 65}) == length("input[0].namespace", 64, 65)
    assert refusal({**item, "namespace": ""})[1]["error"]["code"] == "empty_string"


@pytest.mark.parametrize("name", ["function_call", "custom_tool_call"])
def test_a_called_tool_has_a_name(name):
    assert refusal({**SAMPLES[name], "name": ""})[1]["error"]["code"] == "empty_string"


def picture(url: str):
    return {"role": "user", "content": [{"type": "input_image", "image_url": url}]}


def document(data: str):
    return {"role": "user", "content": [{"type": "input_file", "file_data": data}]}


def screenshot(url: str):
    output = {"type": "computer_screenshot", "image_url": url}
    return {"type": "computer_call_output", "call_id": "c", "output": output}


LIMITS = {
    "output": (
        lambda text: {"type": "function_call_output", "call_id": "c", "output": text},
        "input[0].output",
        10_485_760,
    ),
    "output_of_a_custom_tool": (
        lambda text: {"type": "custom_tool_call_output", "call_id": "c", "output": text},
        "input[0].output",
        10_485_760,
    ),
    "image": (picture, "input[0].content[0].image_url", 20_971_520),
    "screenshot": (screenshot, "input[0].output.image_url", 20_971_520),
    "file": (document, "input[0].content[0].file_data", 73_400_320),
    "compaction": (
        lambda text: {"type": "compaction", "encrypted_content": text},
        "input[0].encrypted_content",
        20_971_520,
    ),
}


@pytest.mark.parametrize(("made", "param", "most"), LIMITS.values(), ids=LIMITS)
def test_large_strings_have_the_limits_of_the_contract(made, param, most):
    assert taken(made("x" * most))
    assert refusal(made("x" * (most + 1))) == length(param, most, most + 1)


def test_a_limit_counts_characters_however_they_are_spelled():
    text = item_fields.text_of(least=1, most=2)
    for spelled in ('"éé"', '"\\u00e9\\u00e9"', '"\\ud83d\\ude00"'):
        value = msgspec.Raw(spelled.encode())
        assert text(value, "a") is value


# Roles and phases


def test_a_user_has_no_phase():
    item = {"role": "user", "content": "x", "phase": "final_answer"}
    assert refusal(item) == invalid(
        "Unknown parameter: 'input[0].phase'.", param="input[0].phase", code="unknown_parameter"
    )


def test_a_phase_is_one_of_two():
    item = {"role": "assistant", "content": "x", "phase": "thinking"}
    assert refusal(item) == invalid(
        "Invalid value: 'thinking'. Supported values are: 'commentary' and 'final_answer'.",
        param="input[0].phase",
        code="invalid_value",
    )
    assert taken({**item, "phase": "commentary"})["phase"] == "commentary"


def test_only_a_developer_adds_tools():
    item = {"type": "additional_tools", "role": "user", "tools": []}
    assert refusal(item) == invalid(
        "Invalid value: 'user'. Supported values are: 'developer'.",
        param="input[0].role",
        code="invalid_value",
    )


# What stands inside

INSIDE = {
    "tool_output_part": (
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "output_text", "text": "x"}],
        },
        "output[0].type",
        (
            "Invalid value: 'output_text'. Supported values are: 'input_text', 'input_image', "
            "and 'input_file'."
        ),
    ),
    "image_detail": (
        {"role": "user", "content": [{"type": "input_image", "detail": "sharp"}]},
        "content[0].detail",
        "Invalid value: 'sharp'. Supported values are: 'low', 'high', 'auto', and 'original'.",
    ),
    "summary": (
        {"type": "reasoning", "summary": [{"type": "summary_text"}]},
        "summary[0].text",
        "Missing required parameter: 'input[0].summary[0].text'.",
    ),
    "reasoning_content": (
        {"type": "reasoning", "summary": [], "content": [{"type": "text", "text": "x"}]},
        "content[0].type",
        None,
    ),
    "annotation": (
        {"role": "assistant", "content": [{"type": "output_text", "text": "", "annotations": [1]}]},
        "content[0].annotations[0]",
        (
            "Invalid type for 'input[0].content[0].annotations[0]': expected an object, but got an "
            "integer instead."
        ),
    ),
    "shell_outcome": (
        {
            "type": "shell_call_output",
            "call_id": "c",
            "output": [{"stdout": "", "stderr": "", "outcome": {"type": "exit"}}],
        },
        "output[0].outcome.exit_code",
        "Missing required parameter: 'input[0].output[0].outcome.exit_code'.",
    ),
    "shell_commands": (
        {"type": "shell_call", "call_id": "c", "action": {"commands": [1]}},
        "action.commands[0]",
        None,
    ),
    "local_shell_environment": (
        {
            "type": "local_shell_call",
            "call_id": "c",
            "status": "completed",
            "action": {"type": "exec", "command": [], "env": {"A": 1}},
        },
        "action.env.A",
        None,
    ),
    "operation": (
        {
            "type": "apply_patch_call",
            "call_id": "c",
            "status": "completed",
            "operation": {"type": "move_file"},
        },
        "operation.type",
        (
            "Invalid value: 'move_file'. Supported values are: 'create_file', 'update_file', "
            "and 'delete_file'."
        ),
    ),
    "web_action": (
        {"type": "web_search_call", "status": "completed", "action": {"type": "find_in_page"}},
        "action.pattern",
        "Missing required parameter: 'input[0].action.pattern'.",
    ),
    "computer_action": (
        {
            "type": "computer_call",
            "call_id": "c",
            "status": "completed",
            "actions": [{"type": "click", "button": "left", "x": 1}],
        },
        "actions[0].y",
        "Missing required parameter: 'input[0].actions[0].y'.",
    ),
    "mcp_error": (
        {**SAMPLES["mcp_call"], "error": {"type": "http_error", "message": "x"}},
        "error.code",
        "Missing required parameter: 'input[0].error.code'.",
    ),
    "caller": (
        {**SAMPLES["function_call"], "caller": {"type": "program"}},
        "caller.caller_id",
        "Missing required parameter: 'input[0].caller.caller_id'.",
    ),
    "caller_type": ({**SAMPLES["shell_call"], "caller": {}}, "caller.type", None),
    "tool": (
        {"type": "tool_search_output", "tools": [{"name": "x"}]},
        "tools[0].type",
        "Missing required parameter: 'input[0].tools[0].type'.",
    ),
    "format": (
        {"type": "configuration_update", "text": {}},
        "text.format",
        "Missing required parameter: 'input[0].text.format'.",
    ),
}


@pytest.mark.parametrize(("item", "place", "message"), INSIDE.values(), ids=INSIDE)
def test_what_stands_inside_an_item_is_checked_where_it_stands(item, place, message):
    status, body = refusal(item)
    assert (status, body["error"]["param"]) == (400, f"input[0].{place}")
    assert message in (None, body["error"]["message"])
