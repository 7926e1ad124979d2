"""Sizes as they are stored, against what the tokenizer itself makes of whole texts."""

from statistics import median
from typing import Any

import bpe_openai
import pytest

from services.conversation.limits import Limits, Models
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer
from tests.builders import counted, raw
from tests.whole.conversing import recorded

INTAKE = Intake(Tokenizer(Models({"old": Limits(0, 0, "cl100k_base")})), Sealer(bytes(32)))
CUT = 50_000
"""Characters that are encoded at once."""


def read_by_model(item: dict[str, Any]) -> list[str]:
    match item["type"]:
        case "function_call":
            return [item["arguments"], item["name"]]
        case "function_call_output":
            return [item["output"]]
        case _:
            content = item["content"]
            return [content] if isinstance(content, str) else [part["text"] for part in content]


@pytest.mark.parametrize(
    ("model", "encoding"),
    [("any", "o200k_base"), ("gpt-4o", "o200k_base"), ("old", "cl100k_base"), (None, "o200k_base")],
)
def test_sizes_of_whole_conversations_are_those_of_the_vocabulary(model, encoding):
    vocabulary = bpe_openai.get_encoding(encoding)
    intake, errors = INTAKE.of(model), []
    for conversation in recorded():
        items = intake.array([raw(item) for item in conversation.items], "input", mint=counted())
        for given, stored in zip(conversation.items, items, strict=True):
            texts = read_by_model(given)
            exact = sum(len(vocabulary.encode_ordinary(text)) for text in texts)
            errors.append(abs(stored.tokens - max(1, exact)))
            # Texts that are not encoded at once may gain a token or two at each cut.
            assert errors[-1] <= 2 * sum(len(text) // CUT for text in texts)
    assert median(errors) == 0


@pytest.mark.parametrize(
    ("text", "usual", "old"),
    [
        # Counts of tiktoken, from OpenAI's cookbook.
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 8, 9),
    ],
)
def test_a_model_of_another_vocabulary_has_other_sizes(text, usual, old):
    counter = Tokenizer()
    assert counter.of("gpt-4o").count_text(text) == usual
    assert counter.of("anything").count_text(text) == usual
    assert counter.of("gpt-4-0613").count_text(text) == old
    assert counter.of("gpt-4").of("gpt-4o").count_text(text) == usual


def test_counters_of_one_vocabulary_are_one():
    counter = Tokenizer()
    assert counter.of("gpt-4o") is counter
    assert counter.of("gpt-4") is counter.of("gpt-3.5-turbo")
