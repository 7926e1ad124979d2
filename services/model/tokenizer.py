"""Sizes of items by the bundled vocabularies: no download, no network.

Items of a turn are sized by the vocabulary of its model, all others, and those of models nobody
knows, by ``o200k_base``: a size is stored with its item, whoever is asked later. Where a provider
counts otherwise:

* It adds formatting, which is not guessed: with OpenAI's chat models about 4 tokens a message, and
  3 to begin the answer.
* Images are sized by one rule for all models (`services.model.image_tokens`).
* A file costs 1,500 tokens, about three pages; only the provider, who opens it, can know.
* Reasoning that came encrypted costs nothing here.

The first turn's usage corrects all of that at once.
"""

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from services.conversation.limits import USUAL, Encoding, Models
from services.model.image_tokens import image_tokens

_TEXTS = frozenset(
    {
        # Messages, reasoning, results of file searches.
        "text",
        "refusal",
        "filename",
        # Calls and their outputs.
        "name",
        "arguments",
        "input",
        "output",
        "stdout",
        "stderr",
        "code",
        "logs",
        "result",
        "queries",
        "error",
        "reason",
    }
)
"""Fields whose strings a model reads: no ids, types, states, addresses or settings, and nothing
encrypted or in base64."""
_WHOLE = frozenset(
    {
        "action",
        "actions",
        "arguments",
        "error",
        "operation",
        "schema",
        "tools",
    }
)
"""Fields whose objects and arrays a model reads as the JSON they are: what a call does, and what
tools and formats are defined to be."""
_UNREAD = frozenset({"annotations", "logprobs"})
"""Fields about a text, which repeat some of it."""

FILE_TOKENS = 1_500
_IMAGES = frozenset({"input_image", "computer_screenshot", "image_generation_call"})
"""Types of parts and items that are an image, whatever else is written in them."""

_SLICE = 50_000
"""Characters encoded at once: the encoder refuses more than 200,000 tokens, and no character is
more than four. A cut costs at most a token or two."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@cache
def _vocabulary(encoding: Encoding) -> Any:
    import bpe_openai  # noqa: PLC0415 - takes most of a second, which the warm-up thread has

    return bpe_openai.get_encoding(encoding)


class Tokenizer:
    """Counts text tokens by one vocabulary, and knows the counters by the others."""

    def __init__(self, models: Models | None = None, *, encoding: Encoding = USUAL) -> None:
        """``models`` says whose vocabulary is which."""
        self._models = models or Models()
        self._encoding = encoding
        self._others: dict[Encoding, Tokenizer] = {encoding: self}

    def of(self, model: str) -> "Tokenizer":
        """The counter by the vocabulary of a model; loading one takes most of a second."""
        encoding = self._models.of(model).encoding
        if encoding not in self._others:
            self._others[encoding] = Tokenizer(self._models, encoding=encoding)
        return self._others[encoding]

    def count(self, raw: msgspec.Raw) -> int:
        """Tokens of what a model reads of one stored item, at least 1."""
        tokens = sum(
            piece if isinstance(piece, int) else self.count_text(piece)
            for piece in pieces(_decode(raw))
        )
        return max(1, tokens)

    def count_text(self, text: str) -> int:
        """Tokens of a text."""
        return sum(
            len(_vocabulary(self._encoding).encode_ordinary(text[start : start + _SLICE]))
            for start in range(0, len(text), _SLICE)
        )

    def warm_up(self) -> None:
        """Load the vocabulary in the background, so that the first request need not."""
        threading.Thread(
            target=_vocabulary, args=(self._encoding,), name="tokenizer", daemon=True
        ).start()


def pieces(value: Any) -> Iterator[str | int]:
    """What a model reads of an item, in order: texts, and the tokens of what is no text."""
    # A stack of its own: items may be nested as deep as their parser lets them be.
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        key, current = waiting.pop()
        if isinstance(current, str):
            if key in _TEXTS:
                yield current
        elif key in _UNREAD:
            continue
        elif key in _WHOLE and isinstance(current, dict | list):
            yield _encode(current).decode()
        elif isinstance(current, list):
            waiting.extend((key, inner) for inner in reversed(current))
        elif isinstance(current, dict):
            kind = current.get("type")
            if isinstance(kind, str) and kind in _IMAGES:
                yield image_tokens(current)
            elif kind == "input_file":
                yield FILE_TOKENS
            else:
                waiting.extend(reversed(current.items()))
