import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.image_tokens import LOW_TOKENS, UNSEEN_TOKENS
from services.model.tokenizer import FILE_TOKENS, Tokenizer, pieces
from tests.builders import PROPERTY, call, message, output, raw, reasoning
from tests.schemas.item_shapes import MINIMAL, STORED, named

TOKENIZER = Tokenizer()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("Hello", 1),
        ("Hello, world!", 4),
        ("tiktoken is great!", 6),
        ("<|endoftext|>", 7),
    ],
)
def test_texts_have_the_sizes_of_the_vocabulary(text, tokens):
    assert TOKENIZER.count_text(text) == tokens


@PROPERTY
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_same_text_has_the_same_size_everywhere(text):
    counted = TOKENIZER.count_text(text)
    assert counted == Tokenizer().count_text(text)
    assert counted <= len(text.encode())
    assert TOKENIZER.count(message("msg_1", text).raw) == max(1, counted)


def test_what_a_model_reads_of_an_item_is_counted_and_nothing_else():
    call_item = raw(
        {
            "id": "fc_" + "x" * 60,
            "type": "function_call",
            "status": "completed",
            "arguments": '{"city":"Oslo"}',
            "call_id": "call_" + "x" * 40,
            "name": "get_weather",
        }
    )
    assert list(pieces(json.loads(bytes(call_item)))) == ['{"city":"Oslo"}', "get_weather"]
    parts = raw({"id": "fc_1", "output": [{"type": "input_text", "text": "4"}], "call_id": "c"})
    assert list(pieces(json.loads(bytes(parts)))) == ["4"]


READ = {
    "message": [["Hello!"], ["What is this?", UNSEEN_TOKENS, FILE_TOKENS], ["Be terse."]],
    "function_call": [['{"city":"Oslo"}', "get_weather"]],
    "function_call_output": [['{"temp_c":4}'], ["4 degrees"]],
    "file_search_call": [["refund policy"]],
    "web_search_call": [['{"type":"search","query":"oslo weather","queries":["oslo weather"]}']],
    "image_generation_call": [[UNSEEN_TOKENS]],
    "computer_call": [['{"type":"click","button":"left","x":10,"y":20}']],
    "computer_call_output": [[UNSEEN_TOKENS]],
    "tool_search_call": [['{"query":"crm"}']],
    "tool_search_output": [["[]"]],
    "additional_tools": [["[]"]],
    "configuration_update": [[]],
    "reasoning": [["Looking up weather."], []],
    "program": [['tools.get_weather({city:"Oslo"})']],
    "program_output": [["4"]],
    "compaction": [[]],
    "code_interpreter_call": [["print(1)"]],
    "local_shell_call": [
        [
            (
                '{"type":"exec","command":["ls"],"env":{},"timeout_ms":null,"user":null,'
                '"working_directory":null}'
            )
        ]
    ],
    "local_shell_call_output": [['{"stdout":""}']],
    "shell_call": [['{"commands":["ls"],"max_output_length":null,"timeout_ms":null}']],
    "shell_call_output": [["", "a\n"]],
    "apply_patch_call": [['{"type":"create_file","path":"a.txt","diff":"+x"}']],
    "apply_patch_call_output": [["ok"]],
    "mcp_list_tools": [
        [
            (
                '[{"name":"roll","description":"Roll dice","input_schema":{"type":"object"},'
                '"annotations":null}]'
            )
        ]
    ],
    "mcp_approval_request": [["{}", "roll"]],
    "mcp_approval_response": [[]],
    "mcp_call": [['{"n":2}', "roll", "7"]],
    "custom_tool_call": [["SELECT 1", "sql"]],
    "custom_tool_call_output": [["1"]],
}


@pytest.mark.parametrize("kind", READ)
def test_of_every_type_what_a_model_reads_is_counted(kind):
    read = [list(pieces(item)) for item in STORED if item["type"] == kind]
    assert read[: len(READ[kind])] == READ[kind]


def test_every_type_has_a_rule():
    assert {item["type"] for item in STORED} == READ.keys()


@pytest.mark.parametrize("item", STORED + MINIMAL, ids=named(STORED + MINIMAL))
def test_every_type_has_a_size(item):
    assert TOKENIZER.count(raw(item)) >= 1


def test_an_image_costs_the_same_whatever_its_bytes():
    def costs(**fields: str):
        part = {"type": "input_image", "image_url": "data:image/png;base64," + "QUJD" * 10_000}
        return TOKENIZER.count(raw({"content": [{**part, **fields}]}))

    assert costs() == costs(detail="high") == costs(detail="auto") == UNSEEN_TOKENS
    assert costs(detail="low") == LOW_TOKENS


def test_a_file_costs_the_same_whatever_its_bytes():
    part = {"type": "input_file", "filename": "a.pdf", "file_data": "QUJD" * 10_000}
    assert TOKENIZER.count(raw({"content": [part]})) == FILE_TOKENS


def test_what_is_written_about_a_text_is_not_counted():
    part = {
        "type": "output_text",
        "text": "Hi",
        "annotations": [{"type": "file_citation", "filename": "a very long name.txt"}],
        "logprobs": [{"token": "Hi", "top_logprobs": [{"text": "Hello"}]}],
    }
    assert list(pieces({"content": [part]})) == ["Hi"]


@pytest.mark.parametrize(
    "item",
    [message("msg_1", ""), reasoning("rs_1"), output("c", text=""), call("c", name="")],
    ids=["message", "reasoning", "output", "call"],
)
def test_no_item_is_free(item):
    assert TOKENIZER.count(item.raw) >= 1


def test_a_size_does_not_depend_on_how_text_is_escaped():
    plain, escaped = b'{"text":"\xc3\xa9\xf0\x9f\x98\x80"}', b'{"text":"\\u00e9\\ud83d\\ude00"}'
    assert TOKENIZER.count(plain) == TOKENIZER.count(escaped)
