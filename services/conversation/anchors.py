"""What a summary must not lose: ids, names, numbers, dates, paths, decisions, open calls.

They are found by their form, in any language that writes them so. Each has a rank: where not all
fit, those of the best rank stay. The user's before the model's before those of tools, since a tool
can be asked again; of one speaker the strongest forms, and of equals the older, which no window
shows any more.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from services.conversation.tokens import TokenCounter
from services.conversation.words import KEPT_HEADING, KEPT_SEPARATOR, Passage

SECTION_SHARE = 0.65
"""Share of a summary's size that anchors may take which its words left out."""

_STRONG = ("id", "address", "decision", "path", "date", "amount", "figure", "quoted", "name")
_RANKS = {"open": 0, "listed": 1, **dict.fromkeys(_STRONG, 2), "number": 3}
"""A small number says little without what it counts."""
_SPEAKERS = {"kept": 0, "user": 0, "summary": 1, "assistant": 2, "tool": 3}

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
# Every repetition that may begin anywhere is bounded: what is searched is what anybody has sent.
_ANCHOR = re.compile(
    rf"""
      (?P<address>https?://[^\s"'<>)\]]+
        | (?<![\w.+-])[\w.+-]{{1,64}}@[\w-]{{1,64}}(?:\.[\w-]{{1,64}})+)
    | (?P<path>(?<![\w/.])(?:~|\.{{1,2}})?/[\w.-]+(?:/[\w.-]+)*
        | (?<![\w/-])[\w-]{{1,64}}(?:/[\w-]{{1,64}}){{0,16}}/[\w-]{{1,64}}\.\w+)
    | (?P<date>\b\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?
        | \b\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}\b | \b\d{{1,2}}:\d\d(?::\d\d)?\b
        | \b\d{{1,2}}\.?\ {_MONTH}(?:\ \d{{4}})? | \b{_MONTH}\ \d{{1,2}}(?:,?\ \d{{4}})?\b)
    | (?P<id>\#[\w-]+
        | \b(?=[\w.:-]{{0,64}}\d)(?=[\w.:-]{{0,64}}[A-Za-z])[^\W_]+(?:[_.:-][^\W_]+)+
        | \b[A-Z]{{1,5}}\d{{2,}}\w*\b | \b\d+[A-Z][A-Z0-9]+\b
        | \b(?=\w{{0,64}}\d)(?=\w{{0,64}}[a-f])[0-9a-f]{{7,}}\b)
    | (?P<amount>[€$£¥]\ ?\d+(?:[.,]\d+)*\b
        | \b\d+(?:[.,]\d+)*\ ?(?:[€$£¥%]|(?:EUR|USD|GBP|CHF|JPY)\b))
    | (?P<quoted>(?<=["'`“])[\w.:-]{{2,64}}(?=["'`”]))
    | (?P<name>(?<=[a-z0-9,;:]\ )[A-Z][\w-]{{0,30}}[a-z](?:\ [A-Z][\w-]{{0,30}}[a-z])*(?!\w)
        | \b[A-Z][\w-]{{0,30}}[a-z](?:\ [A-Z][\w-]{{0,30}}[a-z])+(?!\w))
    | (?P<figure>\b\d+(?:[.,]\d+)+\b | \b\d{{4,}}\b)
    | (?P<number>\b\d{{2,3}}\b | \b\d(?=\ [a-z]{{3,}}))
    """,
    re.VERBOSE,
)
_DECIDED = r"\b(?:decided|decision|agreed|approved|rejected|from now on)\b"
_DECISIONS = {
    # What a model begins with these words is what it does next.
    "user": re.compile(rf"{_DECIDED}|\b(?:let(?:'|\u2019| u)s|go(?:ing)? with)\b", re.IGNORECASE),
    "assistant": re.compile(_DECIDED, re.IGNORECASE),
}
_NO_DECISION = re.compile(r"(?!)")
_DECISION_LENGTH_MAX = 160
_LENGTH_MAX = 256
"""Characters of an anchor; what is longer is no word anybody asks for again."""
_PIECE_LENGTH = 8_192
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n|$")
_LISTED_MAX = 1_000
"""Anchors a model may list itself; each is sought in all that was said."""
_COMMON = re.compile(
    r"(?:He|Her|His|How|However|I|If|It|Its|My|No|Not|Our|She|So|Thanks|That|The|Then|There|These"
    r"|They|This|We|What|When|Where|Which|Who|Why|Yes|You|Your)"
)
_BREAK = re.compile(r"[.!?;\n|]\s")
_BEFORE_LENGTH = 28
_BEFORE_WORDS = 3
_OPEN_LENGTH_MAX = 200
_WORD = re.compile(r"\S+")
_AFTER = re.compile(r" [\w-]{1,16}(?=\s|[.,;:!?](?:\s|$)|$)")


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """``text`` is what a summary must hold; the rest is where it was found, and how it ranks.

    ``place`` numbers the passage and ``at`` is its place there; from ``start`` to ``end`` is told
    where the summary's words left it out.
    """

    text: str
    place: int
    at: int
    start: int
    end: int
    rank: tuple[int, int, int]


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """All anchors of passages, each once, the most important first."""

    passages: tuple[Passage, ...]
    found: tuple[Anchor, ...]

    def standing(self, text: str) -> tuple[Anchor, ...]:
        """Those that a text holds."""
        return tuple(anchor for anchor in self.found if stands(anchor.text, text))

    def missing(self, text: str) -> tuple[Anchor, ...]:
        """Those that a text does not hold."""
        return tuple(anchor for anchor in self.found if not stands(anchor.text, text))


def anchors_of(told: Sequence[Passage], *, listed: Iterable[str] = ()) -> Anchors:
    """The anchors of what was said; ``listed`` are a model's own, if its source holds them."""
    found: dict[str, Anchor] = {}
    named = (text.strip() for text in listed)
    whole = (text for text in named if 0 < len(text) <= _LENGTH_MAX)
    asked = tuple(islice(dict.fromkeys(whole), _LISTED_MAX))
    for place, passage in enumerate(told):
        for kind, start, end in _spans(passage, asked):
            text = passage.text[start:end]
            rank = (_speaker_rank(kind, passage), _RANKS[kind], len(found))
            around = (start, end) if kind in {"decision", "open"} else _around(passage, start, end)
            anchor = Anchor(
                text=text, place=place, at=start, start=around[0], end=around[1], rank=rank
            )
            known = found.get(text)
            if known is None or rank[:2] < known.rank[:2]:
                found[text] = anchor
    return Anchors(
        passages=tuple(told), found=tuple(sorted(found.values(), key=lambda each: each.rank))
    )


def stands(anchor: str, text: str) -> bool:
    """Whether a text holds an anchor, and not as a part of a longer word or number."""
    start = text.find(anchor)
    while start >= 0:
        end = start + len(anchor)
        inside = _joins(text[start - 1 : start], anchor[:1]) or _joins(
            anchor[-1:], text[end : end + 1]
        )
        if not inside:
            return True
        start = text.find(anchor, start + 1)
    return False


def section(
    anchors: Anchors, missing: Sequence[Anchor], *, tokens_max: int, counter: TokenCounter
) -> str:
    """A line that lists anchors, the most important first to be chosen; empty if none fits.

    With the words around them, or bare where more of them fit so.
    """

    def told(most: int) -> str:
        return _line(_phrases(anchors.passages, missing[:most]))

    def bare(most: int) -> str:
        return _line(anchor.text for anchor in missing[:most])

    whole = _most(told, len(missing), tokens_max=tokens_max, counter=counter)
    if whole == len(missing):
        return told(whole)
    more = _most(bare, len(missing), tokens_max=tokens_max, counter=counter)
    return bare(more) if more > whole else told(whole)


def _most(line: Callable[[int], str], count: int, *, tokens_max: int, counter: TokenCounter) -> int:
    """How many of ``count`` anchors a line may list within ``tokens_max``."""
    # None takes less than a token.
    least, most = 0, min(count, tokens_max)
    while least < most:
        middle = (least + most + 1) // 2
        if counter.count_text(line(middle)) <= tokens_max:
            least = middle
        else:
            most = middle - 1
    return least


def _line(entries: Iterable[str]) -> str:
    told = KEPT_SEPARATOR.join(" ".join(entry.split()) for entry in entries)
    return f"{KEPT_HEADING} {told}" if told else ""


def _phrases(told: Sequence[Passage], chosen: Iterable[Anchor]) -> list[str]:
    """The words around anchors, in the order in which they were said, none twice."""
    phrases: list[str] = []
    place, reached, begun = -1, 0, 0
    for anchor in sorted(chosen, key=lambda each: (each.place, each.start)):
        if anchor.place == place and anchor.start <= reached:
            reached = max(reached, anchor.end)
            phrases[-1] = told[place].text[begun:reached]
            continue
        place, begun, reached = anchor.place, anchor.start, anchor.end
        phrases.append(told[place].text[begun:reached])
    return list(dict.fromkeys(phrases))


def _spans(passage: Passage, listed: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Kind and place of each anchor of a passage."""
    text = passage.text
    if passage.waiting:
        yield "open", 0, min(len(text), _OPEN_LENGTH_MAX)
    for wanted in listed:
        if stands(wanted, text):
            start = text.index(wanted)
            yield "listed", start, start + len(wanted)
    found = 0
    for match in _matches(_ANCHOR, text):
        end = match.start() + len(match[0].rstrip(".,;:!?-"))
        if match.lastgroup is None or not 0 < end - match.start() <= _LENGTH_MAX:
            continue
        if not _COMMON.fullmatch(match[0]):
            found += 1
            yield match.lastgroup, match.start(), end
    for match in _matches(_DECISIONS.get(passage.speaker, _NO_DECISION), text):
        yield "decision", *_clause(text, match.start(), match.end())
    if passage.speaker == "kept" and not found and text.strip():
        # Whatever made an earlier summary list it, as a decision was, has no form here any more.
        begun = len(text) - len(text.lstrip())
        yield "listed", begun, begun + len(text.strip())


def _matches(wanted: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    for start, end in _pieces(text):
        yield from wanted.finditer(text, start, end)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """A text in pieces, cut between words where it has any.

    Whoever else works in this process waits while a pattern is sought, up to the next match.
    """
    start = 0
    while len(text) - start > _PIECE_LENGTH:
        most = start + _PIECE_LENGTH
        end = 1 + max(text.rfind(mark, start, most) for mark in "\n ,")
        if end <= start:
            end = most
        yield start, end
        start = end
    yield start, len(text)


def _speaker_rank(kind: str, passage: Passage) -> int:
    """A call that waits, and what a model lists itself, come before all that is only found."""
    return 0 if kind in {"open", "listed"} else 1 + _SPEAKERS.get(passage.speaker, 2)


def _clause(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence around a word, as far as it is short."""
    reach = max(0, start - _DECISION_LENGTH_MAX // 2)
    begun = reach
    for broken in _SENTENCE_END.finditer(text, reach, start):
        begun = broken.end() if broken[0] else begun
    most = min(len(text), end + _DECISION_LENGTH_MAX // 2)
    ended = _SENTENCE_END.search(text, end, most)
    closed = ended.start() if ended else most
    clause = text[begun:closed]
    begun += len(clause) - len(clause.lstrip())
    return begun, begun + len(clause.strip())


def _around(passage: Passage, start: int, end: int) -> tuple[int, int]:
    """What is told of an anchor: the words before it, one behind it; all of what was listed."""
    text = passage.text
    if passage.speaker == "kept":
        return 0, len(text)
    lead = max(0, start - _BEFORE_LENGTH)
    before = text[lead:start]
    for broken in _BREAK.finditer(before):
        lead = max(0, start - _BEFORE_LENGTH) + broken.end()
    words = list(_WORD.finditer(text, lead, start))
    if lead and words and not text[lead - 1].isspace():
        words = words[1:]  # its first letters are further in front
    lead = words[-_BEFORE_WORDS:][0].start() if words else start
    follows = _AFTER.match(text, end)
    return lead, follows.end() if follows else end


def _joins(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum()
