from typing import Any

import pytest

from services.conversation.history import Item, item_of
from services.model import ModelRefused, messages
from tests.builders import call, compaction_item, message, output, raw, reasoning, said
from tests.told_streams import STREAMS


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
        {"role": "system", "content": "Be"},
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


def stored(**fields: Any) -> Item:
    return item_of(raw({"id": "x", "status": "completed", **fields}), 1)


def custom(call_id: str) -> Item:
    return stored(type="custom_tool_call", call_id=call_id, name="sql", input="SELECT 1")


def test_calls_of_custom_tools_and_their_outputs_are_told_beside_the_others():
    rows = [{"type": "input_text", "text": "1 "}, {"type": "input_text", "text": "row"}]
    custom_output = stored(type="custom_tool_call_output", call_id="call_c", output=rows)

    assert told(custom("call_c"), call("call_1"), output("call_1"), custom_output) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
                asked("call_1"),
            ],
        },
        tool("call_1"),
        tool("call_c", "1 row"),
    ]


def test_an_image_in_an_output_is_told_as_one():
    parts = [{"type": "input_image", "image_url": "https://x.test/c.png"}]
    shot = stored(type="function_call_output", call_id="call_1", output=parts)

    (_, answered) = told(call("call_1"), shot)

    assert answered["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x.test/c.png", "detail": "auto"}}
    ]


@pytest.mark.parametrize(
    "name", sorted(STREAMS.keys() - {"audio"} - {n for n in STREAMS if n.startswith("message")})
)
def test_what_chat_has_no_form_for_is_left_out(name: str):
    item = item_of(raw(STREAMS[name][-1]["item"]), 1)
    expected = name in {"function_call", "custom_tool_call"}
    assert [one["role"] for one in told(message("m"), item)] == ["user", "assistant"][
        : 1 + expected
    ]


def test_a_summary_only_an_upstream_can_read_is_left_out():
    assert told(compaction_item("cmp_1"), message("m")) == [user("Hi")]


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ({"type": "input_image", "file_id": "file-1", "image_url": None}, "image by its file id"),
        ({"type": "input_file", "file_url": "https://x.test/a.pdf"}, "file by its URL"),
        ({"type": "input_audio", "data": "x"}, "'input_audio'"),
    ],
)
def test_what_chat_cannot_be_shown_is_refused(part: dict[str, Any], what: str):
    item = stored(type="message", role="user", content=[part])
    with pytest.raises(ModelRefused, match=what) as refused:
        told(item)
    assert (refused.value.status, refused.value.param) == (400, "input")


def test_nulls_of_a_file_are_not_sent():
    part = {"type": "input_file", "file_id": None, "file_data": "data:x", "filename": "a.pdf"}
    item = stored(type="message", role="user", content=[part])
    assert told(item)[0]["content"] == [
        {"type": "file", "file": {"file_data": "data:x", "filename": "a.pdf"}}
    ]
