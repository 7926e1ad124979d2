"""What must not be forgotten: names, numbers, ids, paths and addresses, and summaries around them.

A summary is made of the words of its source; nothing here invents any.
"""

import functools
import re
from collections.abc import Iterable, Sequence

from services.simulator import forgetting
from services.simulator.entries import Entry, fingerprint_of

OPENING = "I have read "
"""How this model's own answers begin; they repeat facts, and are not searched for them."""

SENTENCE_LENGTH_MAX = 120
_CLAUSE_LENGTH_MIN = 24
_CACHED_LENGTH_MAX = 2_000
_SUMMARY_LENGTH_LEAST = 200
_KEPT_SHARE = 0.75
_WORD_LENGTH = 6
"""Characters of a word and the space behind it, in English."""
_SUMMARY = "Summary of "
_KEPT = "Kept: "

_ANCHOR = re.compile(
    r"""
      https?://[^\s"'<>)\]]+                          # addresses
    | (?<![\w/.])(?:~|\.{1,2})?/[\w.-]+(?:/[\w.-]+)*  # /etc/hosts, ./a/b
    | \b[\w-]+(?:/[\w-]+)*/[\w-]+\.\w+                # services/app.py
    | \#[\w-]+                                        # #12345
    | (?<=["'`])[\w.:-]{2,64}(?=["'`])                # "quoted-id"
    | \b[A-Za-z]+[_-][\w-]*\d[\w-]*                   # ORD-123, call_x1
    | \b\d+(?:[.,:/-]\d+)*\b                          # 3, 19.90, 2026-01-31
    | (?<=[a-z,;:][ ])[A-Z][\w-]*[a-z](?:[ ][A-Z][\w-]*[a-z])*  # Ada Lovelace, within a sentence
    """,
    re.VERBOSE,
)
_COMMON = frozenset(
    {"He", "Her", "His", "It", "Its", "My", "Our", "She", "The", "They", "We", "You"}
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")


def anchors_in(text: str) -> tuple[str, ...]:
    """The anchors of a text, each once, in their order."""
    # A conversation is sent whole again at each turn: its short texts are searched once.
    return _cached(text) if len(text) <= _CACHED_LENGTH_MAX else _search(text)


def facts_of(entries: Iterable[Entry], *, most: int) -> tuple[str, ...]:
    """The first ``most`` anchors of what others said."""
    found: dict[str, None] = {}
    for entry in entries:
        if len(found) >= most:
            break
        if not (entry.role == "assistant" and entry.text.startswith(OPENING)):
            found.update(dict.fromkeys(anchors_in(entry.text)))
    return tuple(found)[:most]


def summary_of(
    entries: Sequence[Entry], *, words_max: int | None = None, forgetful: bool = False
) -> str:
    """An extract: a clause for each line of each entry, then every anchor.

    About half of the source once that has a few hundred tokens, and no longer than ``words_max``
    allows: clauses become shorter, then fewer, and anchors are left out last. A ``forgetful`` one
    is as `forgetting` says.
    """
    length = sum(len(entry.text) for entry in entries)
    length_most = max(_SUMMARY_LENGTH_LEAST, length // 2)
    if words_max is not None:
        length_most = min(length_most, words_max * _WORD_LENGTH)
    found = dict.fromkeys(anchor for entry in entries for anchor in anchors_in(entry.text))
    clauses = [clause for entry in entries for clause in _clauses(entry)]
    if forgetful:
        length_most = min(length_most, forgetting.LENGTH_MAX)
        memory = forgetting.Memory(found, seed=fingerprint_of(entries), length_max=length_most)
        found, clauses = memory.kept, [memory.told(clause) for clause in clauses]
    anchors = _up_to(found, int(length_most * _KEPT_SHARE))
    told = _shortened(clauses, length_most - len(anchors))
    kept = (f"{_KEPT}{anchors}",) if anchors else ()
    return "\n".join((f"{_SUMMARY}{len(entries)} items.", *told, *kept))


def _clauses(entry: Entry) -> Iterable[str]:
    """One for each line; those of an earlier summary are told again, each for itself."""
    lines = [line for line in entry.text.splitlines() if line.strip()]
    if any(line.startswith(_SUMMARY) for line in lines):
        return (line for line in lines if not line.startswith((_SUMMARY, _KEPT)))
    return (f"{entry.role or entry.type}: {_first_sentence(line)}" for line in lines)


@functools.lru_cache(maxsize=8_192)
def _cached(text: str) -> tuple[str, ...]:
    return _search(text)


def _search(text: str) -> tuple[str, ...]:
    found = (match[0].rstrip(".,;:!?-") for match in _ANCHOR.finditer(text))
    return tuple(dict.fromkeys(anchor for anchor in found if anchor not in _COMMON))


def _first_sentence(line: str) -> str:
    return _SENTENCE_END.split(line.strip(), maxsplit=1)[0][:SENTENCE_LENGTH_MAX]


def _up_to(anchors: Iterable[str], length_most: int) -> str:
    kept: list[str] = []
    length = 0
    for anchor in anchors:
        length += len(anchor) + 2
        if length > length_most:
            break
        kept.append(anchor)
    return ", ".join(kept)


def _shortened(clauses: Sequence[str], length_most: int) -> list[str]:
    if sum(len(clause) + 2 for clause in clauses) <= length_most:
        return list(clauses)
    each = max(_CLAUSE_LENGTH_MIN, length_most // len(clauses))
    step = -(-len(clauses) * each // length_most)
    return [clause[: each - 2] for clause in clauses[::step]]
