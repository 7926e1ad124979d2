"""Sizes of items by the bundled ``o200k_base`` vocabulary: no download, no network."""

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

_TEXT_KEYS = frozenset({"text", "arguments", "output", "refusal", "name", "input"})
"""Fields of items whose strings the model reads; ids, types and states are not text to it."""

_SLICE = 50_000
"""Characters encoded at once: the encoder refuses more than 200,000 tokens, and no character is
more than four. A cut costs at most a token or two."""

_decode = msgspec.json.Decoder().decode


@cache
def _encoding() -> Any:
    import bpe_openai  # noqa: PLC0415 - takes most of a second, which the warm-up thread has

    return bpe_openai.get_encoding("o200k_base")


class Tokenizer:
    """Counts text tokens; formatting tokens are the provider's secret and not guessed."""

    def count(self, raw: msgspec.Raw) -> int:
        """Tokens of the texts in one stored item, at least 1."""
        return max(1, sum(self.count_text(text) for text in texts(_decode(raw))))

    def count_text(self, text: str) -> int:
        """Tokens of a text."""
        return sum(
            len(_encoding().encode_ordinary(text[start : start + _SLICE]))
            for start in range(0, len(text), _SLICE)
        )

    def warm_up(self) -> None:
        """Load the vocabulary in the background, so that the first request need not."""
        threading.Thread(target=_encoding, name="tokenizer", daemon=True).start()


def texts(value: Any) -> Iterator[str]:
    """The strings of an item that a model reads, in order."""
    # A stack of its own: items may be nested as deep as their parser lets them be.
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        key, current = waiting.pop()
        match current:
            case str():
                if key in _TEXT_KEYS:
                    yield current
            case dict():
                waiting.extend(reversed(current.items()))
            case list():
                waiting.extend((key, inner) for inner in reversed(current))
            case _:
                continue
