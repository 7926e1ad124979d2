import json

import msgspec
import pytest

from schemas.http.create_response import read_create
from schemas.http.errors import ApiError
from services.conversation.history import Item, item_of
from services.model import messages
from tests.builders import call, message, output, raw, reasoning, said


def told(*items: Item, instructions=None):
    return messages.messages(items, instructions)


def user(text):
    return {"role": "user", "content": text}


def tool(call_id, text="4"):
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def asked(call_id, name="look"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_messages_are_told_in_their_order_after_the_instructions():
    items = (message("msg_1", "Hi"), said("msg_2", "Hello"), message("m", "Be", role="developer"))
    assert told(*items, instructions="Be terse.") == [
        {"role": "system", "content": "Be terse."},
        user("Hi"),
        {"role": "assistant", "content": "Hello"},
        {"role": "developer", "content": "Be"},
    ]


@pytest.mark.parametrize("instructions", [None, ""])
def test_no_instructions_are_no_message(instructions):
    assert told(message("msg_1"), instructions=instructions) == [user("Hi")]


def test_parallel_calls_share_one_assistant_message_before_their_outputs():
    items = (
        message("msg_1"),
        call("call_1"),
        call("call_2"),
        output("call_1"),
        output("call_2", text="5"),
        said("msg_2"),
    )
    assert told(*items) == [
        user("Hi"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [asked("call_1"), asked("call_2")],
        },
        tool("call_1"),
        tool("call_2", "5"),
        {"role": "assistant", "content": "Hello"},
    ]


def test_calls_one_after_the_other_are_messages_of_their_own():
    assert told(call("call_1"), output("call_1"), call("call_2"), output("call_2")) == [
        {"role": "assistant", "content": None, "tool_calls": [asked("call_1")]},
        tool("call_1"),
        {"role": "assistant", "content": None, "tool_calls": [asked("call_2")]},
        tool("call_2"),
    ]


def test_what_was_said_before_a_call_is_in_its_message():
    assert told(said("msg_1", "Let me look."), reasoning("rs_1"), call("call_1")) == [
        {"role": "assistant", "content": "Let me look.", "tool_calls": [asked("call_1")]}
    ]


def test_what_was_said_after_a_call_does_not_come_between_it_and_its_output():
    answered = told(call("call_1"), said("msg_1", "Looking."), output("call_1"))
    roles = [each["role"] for each in answered]
    assert roles[roles.index("tool") - 1] == "assistant"
    assert answered[roles.index("tool") - 1].get("tool_calls") == [asked("call_1")]


def test_an_output_in_parts_is_told_as_its_text():
    item = item_of(
        raw(
            {
                "id": "fc_1",
                "type": "function_call_output",
                "status": "completed",
                "output": [
                    {"type": "input_text", "text": "4 "},
                    {"type": "input_text", "text": "degrees"},
                ],
                "call_id": "call_1",
            }
        ),
        1,
    )
    assert told(item) == [tool("call_1", "4 degrees")]


def test_images_and_files_are_told_as_the_chat_api_spells_them():
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "detail": "low", "image_url": "https://x.test/c.png"},
        {"type": "input_image", "image_url": "https://x.test/d.png", "detail": None},
        {"type": "input_file", "file_id": "file-1", "filename": "a.pdf"},
    ]
    item = item_of(raw({"id": "m", "type": "message", "content": content, "role": "user"}), 1)
    assert told(item)[0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://x.test/c.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://x.test/d.png", "detail": "auto"}},
        {"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}},
    ]


def test_a_screenshot_is_told_as_an_image():
    part = {"type": "computer_screenshot", "detail": "high", "image_url": "https://x.test/s.png"}
    item = item_of(raw({"id": "m", "type": "message", "content": [part], "role": "user"}), 1)
    (message,) = told(item)
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x.test/s.png", "detail": "high"}}
    ]


def test_an_output_without_a_call_id_is_told_behind_the_call_that_is_left_over():
    nameless = {"id": "fc_2", "type": "function_call_output", "output": "4 degrees"}
    item = item_of(raw(nameless), 1)
    assert told(call("call_1"), item)[1:] == [tool("call_1", "4 degrees")]
    assert told(item) == [{"role": "user", "content": "4 degrees"}]


def test_a_refusal_is_told_as_its_text():
    content = [{"type": "refusal", "refusal": "No."}]
    item = item_of(raw({"id": "m", "type": "message", "content": content, "role": "assistant"}), 1)
    assert told(item) == [{"role": "assistant", "content": "No."}]


def spelled(**given: object):
    """The chat API's spelling of parameters, decoded."""
    return json.loads(
        msgspec.json.encode(
            messages.parameters({name: raw(value) for name, value in given.items()})
        )
    )


def test_parameters_are_respelled_and_what_chat_does_not_know_is_left_out():
    assert spelled(
        max_output_tokens=16,
        temperature=0.5,
        top_p=1,
        user="u",
        parallel_tool_calls=False,
        truncation="auto",
        include=[],
        text={"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}},
        reasoning={"effort": "low", "summary": None},
        tools=[
            {"type": "web_search"},
            {
                "type": "function",
                "name": "look",
                "description": None,
                "parameters": {"type": "object"},
                "strict": False,
            },
        ],
        tool_choice={"type": "function", "name": "look"},
    ) == {
        "temperature": 0.5,
        "top_p": 1,
        "parallel_tool_calls": False,
        "user": "u",
        "max_completion_tokens": 16,
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "parameters": {"type": "object"}, "strict": False},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {}, "strict": True},
        },
        "reasoning_effort": "low",
    }


def test_a_choice_among_no_tools_is_left_out():
    assert spelled(tools=[], tool_choice="auto") == {}
    assert spelled(tools=[{"type": "web_search"}], tool_choice="required") == {}


def test_a_simple_format_is_passed_on_and_an_absent_one_is_not():
    assert spelled(text={"format": {"type": "json_object"}}) == {
        "response_format": {"type": "json_object"}
    }
    assert spelled(text={"verbosity": "low"}, reasoning={"effort": None}) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": {"format": 5}},
        {"text": {"format": {"schema": {}}}},
        {
            "tools": [{"type": "function", "name": "look"}],
            "tool_choice": {"type": "function"},
        },
    ],
    ids=["format", "format_without_type", "choice_without_name"],
)
def test_parameters_that_passed_the_door_do_not_break_their_respelling(wrong):
    try:
        read = read_create(bytes(raw({"model": "m", "input": "x", **wrong})), strict=False)
    except ApiError:
        return
    assert isinstance(messages.parameters(read.parameters), dict)


def test_a_chat_count_is_told_in_the_contracts_shape():
    assert messages.usage(
        {
            "prompt_tokens": 9,
            "completion_tokens": 7,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
    ) == messages.Usage(
        input_tokens=9,
        input_tokens_details=messages.Usage.InputDetails(cached_tokens=4),
        output_tokens=7,
        output_tokens_details=messages.Usage.OutputDetails(reasoning_tokens=2),
        total_tokens=16,
    )


@pytest.mark.parametrize(
    "given", [None, {}, {"prompt_tokens": None, "prompt_tokens_details": None}]
)
def test_a_count_that_was_not_given_is_zero(given):
    assert messages.usage(given) == messages.Usage()
