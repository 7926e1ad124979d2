"""A summary without a model: sentences of what was said, chosen for what they hold.

The same history always gives the same extract.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from services.conversation.anchors import Anchors
from services.conversation.tokens import TokenCounter
from services.conversation.words import Passage

SENTENCES_SHARE = 0.35
"""Share of an extract's size for sentences; the rest is for anchors they leave out."""
SENTENCE_LENGTH_MAX = 300

_BESIDE_TOKENS = 3
"""A label and a line break come on top of a sentence."""

_SENTENCE = re.compile(r"[^\n]+?(?:[.!?](?=\s|$)|$)", re.MULTILINE)
_SPEAKERS = {"kept": 4, "user": 3, "summary": 3, "assistant": 2, "tool": 1}
_ANCHOR_WORTH = 6
_FIRST_WORTH = 2
_SHORT_LENGTH = 40
"""What a sentence holds counts by its length, of which so much is free."""


class _Sentence(msgspec.Struct, frozen=True, kw_only=True):
    place: int
    number: int
    text: str
    worth: float


def extract(
    told: Sequence[Passage], anchors: Anchors, *, tokens_max: int, counter: TokenCounter
) -> str:
    """What was said, as a whole if that fits ``tokens_max``, or the sentences that hold most."""
    whole = _written(told, {place: [each.text] for place, each in enumerate(told)})
    if counter.count_text(whole) <= tokens_max:
        return whole
    chosen: dict[int, list[str]] = {}
    left = int(tokens_max * SENTENCES_SHARE)
    sentences = sorted(_sentences(told, anchors), key=lambda each: (-each.worth, each.place))
    taken: list[_Sentence] = []
    for sentence in sentences:
        if left <= _BESIDE_TOKENS:
            break
        tokens = counter.count_text(sentence.text) + _BESIDE_TOKENS
        if tokens <= left:
            taken.append(sentence)
            left -= tokens
    if sentences and not taken:
        # Not every language has sentences as short as that, nor everybody who writes.
        taken.append(_beginning(sentences[0], tokens=left - _BESIDE_TOKENS, counter=counter))
    for sentence in sorted(taken, key=lambda each: (each.place, each.number)):
        chosen.setdefault(sentence.place, []).append(sentence.text)
    return _written(told, chosen)


def _beginning(sentence: _Sentence, *, tokens: int, counter: TokenCounter) -> _Sentence:
    """As much of a sentence as is not more than ``tokens``; a letter at least."""
    length = len(sentence.text)
    while length > 1 and counter.count_text(sentence.text[:length]) > tokens:
        length //= 2
    return msgspec.structs.replace(sentence, text=sentence.text[:length])


def _sentences(told: Sequence[Passage], anchors: Anchors) -> list[_Sentence]:
    held: dict[int, list[int]] = {}
    for anchor in anchors.found:
        held.setdefault(anchor.place, []).append(anchor.at)
    found: list[_Sentence] = []
    for place, passage in enumerate(told):
        places = sorted(held.get(place, ()))
        for number, match in enumerate(_SENTENCE.finditer(passage.text)):
            text = match[0][:SENTENCE_LENGTH_MAX]
            end = match.start() + len(text)
            count = bisect_left(places, end) - bisect_left(places, match.start())
            held_worth = count * _ANCHOR_WORTH + (_FIRST_WORTH if number == 0 else 0)
            worth = (held_worth + _SPEAKERS.get(passage.speaker, 1)) / (len(text) + _SHORT_LENGTH)
            if text.strip():
                found.append(_Sentence(place=place, number=number, text=text.strip(), worth=worth))
    return found


def _written(told: Sequence[Passage], chosen: dict[int, list[str]]) -> str:
    lines: list[str] = []
    speaker = ""
    for place, texts in chosen.items():
        said = " ".join(texts)
        if told[place].speaker != "summary":
            said = _indented(said)
        if told[place].speaker == speaker:
            lines[-1] += f" {said}" if speaker != "kept" else f"; {said}"
            continue
        speaker = told[place].speaker
        lines.append(said if speaker == "summary" else f"{_LABELS.get(speaker, speaker)}: {said}")
    return "\n".join(lines)


def _indented(text: str) -> str:
    """Lines of a text that look neither like another's words nor like a heading of ours."""
    return text.replace("\n", "\n  ")


_LABELS = {"kept": "Earlier", "user": "User", "assistant": "Assistant", "tool": "Tool"}
