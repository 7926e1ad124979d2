import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.tokenizer import Tokenizer, texts
from tests.builders import PROPERTY, call, message, output, raw, reasoning

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
    assert list(texts(json.loads(bytes(call_item)))) == ['{"city":"Oslo"}', "get_weather"]
    parts = raw({"id": "fc_1", "output": [{"type": "input_text", "text": "4"}], "call_id": "c"})
    assert list(texts(json.loads(bytes(parts)))) == ["4"]


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
