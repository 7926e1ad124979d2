"""How the size of an item in model tokens is found, without naming a tokenizer.

A size is counted once, when an item is written, and stored with it. What a model's provider counts
for a whole turn, everything included, stands above the sum of sizes wherever there is such a count.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields

_BESIDE = ("instructions", "tools", "text")


class TokenCounter(Protocol):
    """Counts what no provider has counted yet."""

    def count(self, raw: msgspec.Raw) -> int:
        """Tokens of one stored item, at least 1."""

    def count_text(self, text: str) -> int:
        """Tokens of a text."""

    def of(self, model: str) -> "TokenCounter":
        """The counter by the vocabulary of a model."""


def texts_beside(parameters: Fields) -> Iterator[str]:
    """What a model reads beside items: instructions, and tools and formats as they are written."""
    given = checks.present(parameters)
    if "instructions" in given:
        yield checks.plain(given["instructions"])
    if "tools" in given:
        for tool in checks.array(given["tools"], "tools"):
            yield bytes(tool).decode()
    if "text" in given:
        form = checks.fields(given["text"], "text").get("format")
        if not checks.is_null(form) and form is not None:
            yield bytes(form).decode()


def most_beside(parameters: Fields) -> int:
    """What `texts_beside` can come to at most: no token is less than a byte."""
    return sum(len(parameters[name]) for name in _BESIDE if name in parameters)


def count_beside(parameters: Fields, counter: TokenCounter) -> int:
    """What `texts_beside` comes to."""
    return sum(map(counter.count_text, texts_beside(parameters)))
