"""Questions about what was said: each is answered by the sentence that has most of its words.

No understanding, but no guessing either: what is not in the conversation is unknown.
"""

import re
from collections.abc import Iterator, Sequence

from services.simulator.entries import Entry

OPENING = "Answer each question"
"""How instructions begin under which the last message is a list of questions, one a line."""
UNKNOWN = "unknown"
_WORDS_LEAST = 2
_QUESTION = re.compile(r"^(\d+)[.)] +(\S.*)$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{4,}")
_END = re.compile(r"(?<=[.!?])\s+|\n|; | \| ")


def asked(entries: Sequence[Entry]) -> bool:
    """Whether a request is such a list."""
    return bool(entries) and entries[0].role == "system" and entries[0].text.startswith(OPENING)


def answers(entries: Sequence[Entry]) -> str:
    """A line for each question, under its number."""
    sentences = [(sentence, _words(sentence)) for sentence in _sentences(entries[1:-1])]
    lines: list[str] = []
    for number, question in _QUESTION.findall(entries[-1].text):
        wanted = _words(question)
        best, words = max(
            sentences, key=lambda each: len(wanted & each[1]), default=("", frozenset[str]())
        )
        known = len(wanted & words) >= _WORDS_LEAST
        lines.append(f"{number}. {best if known else UNKNOWN}")
    return "\n".join(lines)


def _sentences(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        yield from (part for part in _END.split(entry.text) if part)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text))
