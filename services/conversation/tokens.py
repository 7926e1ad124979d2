"""How the size of an item in model tokens is found, without naming a tokenizer."""

from typing import Protocol

import msgspec


class TokenCounter(Protocol):
    """Counts what no provider has counted yet."""

    def count(self, raw: msgspec.Raw) -> int:
        """Tokens of one stored item, at least 1."""

    def count_text(self, text: str) -> int:
        """Tokens of a text."""
