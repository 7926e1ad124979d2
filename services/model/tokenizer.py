"""Sizes of items by the bundled ``o200k_base`` vocabulary: no download, no network."""

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

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

IMAGE_TOKENS = 765
"""An image, given or made: one of 1024 by 1024 pixels in high detail, 85 and 4 tiles of 170."""
IMAGE_TOKENS_LOW = 85
"""An image in low detail."""
FILE_TOKENS = 1_500
"""A file of about three pages; only the provider, who opens it, can know."""
_FLAT = {
    "input_image": IMAGE_TOKENS,
    "computer_screenshot": IMAGE_TOKENS,
    "image_generation_call": IMAGE_TOKENS,
    "input_file": FILE_TOKENS,
}
"""Types of parts and items that cost a model this much, whatever is written in them."""

_SLICE = 50_000
"""Characters encoded at once: the encoder refuses more than 200,000 tokens, and no character is
more than four. A cut costs at most a token or two."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@cache
def _encoding() -> Any:
    import bpe_openai  # noqa: PLC0415 - takes most of a second, which the warm-up thread has

    return bpe_openai.get_encoding("o200k_base")


class Tokenizer:
    """Counts text tokens; formatting tokens are the provider's secret and not guessed."""

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
            len(_encoding().encode_ordinary(text[start : start + _SLICE]))
            for start in range(0, len(text), _SLICE)
        )

    def warm_up(self) -> None:
        """Load the vocabulary in the background, so that the first request need not."""
        threading.Thread(target=_encoding, name="tokenizer", daemon=True).start()


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
            if isinstance(kind, str) and kind in _FLAT:
                yield IMAGE_TOKENS_LOW if current.get("detail") == "low" else _FLAT[kind]
            else:
                waiting.extend(reversed(current.items()))
