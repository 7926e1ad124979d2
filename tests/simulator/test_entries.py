import hashlib
import json

import pytest

from schemas.http.errors import Invalid
from services.simulator.entries import (
    Entry,
    digest_of,
    entries_of_input,
    entries_of_messages,
    tokens_of,
)

CALL = {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": '{"a":1}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "found"}


def test_a_digest_is_sha256_over_compact_json():
    entries = entries_of_input('Grüße, "you"\n', instructions="Be kind")
    rows = [["system", "message", "Be kind"], ["user", "message", 'Grüße, "you"\n']]
    canonical = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    assert digest_of(entries) == hashlib.sha256(canonical.encode()).hexdigest()[:8]


def test_a_string_and_a_user_message_and_parts_are_the_same_conversation():
    part = {"type": "input_text", "text": "Hi"}
    forms = (
        "Hi",
        [{"role": "user", "content": "Hi"}],
        [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "user",
                "content": [part],
            }
        ],
    )
    assert [entries_of_input(form) for form in forms] == [(Entry("user", "message", "Hi"),)] * 3


def test_equal_conversations_have_one_digest_in_both_apis():
    given = [
        {"role": "user", "content": "Find it"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "One moment"}]},
        CALL,
        OUTPUT,
        {"role": "developer", "content": "Be short"},
    ]
    messages = [
        {"role": "system", "content": "Be kind"},
        {"role": "user", "content": [{"type": "text", "text": "Find it"}]},
        {
            "role": "assistant",
            "content": "One moment",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "find", "arguments": '{"a":1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "found"},
        {"role": "developer", "content": "Be short"},
    ]
    assert entries_of_input(given, instructions="Be kind") == entries_of_messages(messages)


def test_custom_tools_have_one_digest_in_both_apis():
    given = [
        {"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": "SELECT 1"},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "1 row"},
    ]
    call = {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1 row"},
    ]
    assert entries_of_input(given) == entries_of_messages(messages)


@pytest.mark.parametrize(
    "other",
    [
        [OUTPUT, CALL],
        [CALL],
        [CALL, {**OUTPUT, "output": "lost"}],
        [{**CALL, "arguments": "{}"}, OUTPUT],
        [CALL, OUTPUT, {"type": "reasoning", "summary": []}],
    ],
)
def test_whatever_differs_shows_in_the_digest(other):
    assert digest_of(entries_of_input(other)) != digest_of(entries_of_input([CALL, OUTPUT]))


def test_ids_and_states_of_other_items_are_not_digested():
    item = {"type": "compaction", "encrypted_content": "x"}
    assert entries_of_input([item]) == entries_of_input([{**item, "id": "cmp_1"}])


def test_empty_instructions_are_none():
    assert entries_of_input("Hi", instructions="") == entries_of_input("Hi")


def test_equal_entries_have_equal_tokens_and_longer_ones_more():
    short, long = entries_of_input("Hi"), entries_of_input("Hi" * 100)
    assert tokens_of(short) == tokens_of(entries_of_input("Hi")) < tokens_of(long)


@pytest.mark.parametrize("given", [5, {"role": "user"}, ["Hi"]])
def test_input_that_is_no_list_of_objects_is_refused(given):
    with pytest.raises(Invalid, match="Invalid type for 'input"):
        entries_of_input(given)
