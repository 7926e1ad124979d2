"""What items say, as plain text: what summaries are made of without a model, and checked by."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from services.conversation import pairing
from services.conversation.history import Item

KEPT_HEADING = "Anchors:"
"""How the line of a summary begins that lists what its words left out."""
KEPT_SEPARATOR = " | "

_UNREAD = frozenset(
    {
        "annotations",
        "detail",
        "encrypted_content",
        "file_data",
        "format",
        "id",
        "logprobs",
        "phase",
        "role",
        "status",
        "type",
    }
)
"""Fields that say nothing about the conversation, or nothing that can be read."""
_UNREAD_TYPES = frozenset({"image_generation_call"})
_BLOB = re.compile(r"data:|[\w+/=-]{2048}[\w+/=-]*\Z", re.ASCII)
"""Data, in base64 or the like; neither JSON without a space nor a language that writes none."""
_DATA = "(data)"
"""What is told of data: that there was some."""

_decode = msgspec.json.Decoder().decode


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was said, and by whom: ``user``, ``assistant``, ``tool``, ``summary``.

    ``kept`` passages are what an earlier summary listed; ``waiting`` ones, calls without an output.
    """

    speaker: str
    text: str
    waiting: bool = False


def passages(items: Sequence[Item], *, summaries: Mapping[str, str]) -> tuple[Passage, ...]:
    """What items say, in their order; ``summaries`` holds the texts of compactions, by item id."""
    answered = set(pairing.answered(items))
    told: list[Passage] = []
    for item in items:
        if item.type == "compaction":
            told += of_summary(summaries.get(item.id, ""))
            continue
        call = pairing.call_of(item)
        waiting = call is not None and call not in answered
        text = text_of(item)
        if waiting and item.call_id:
            text = f"{' '.join(text.split())} (waits for its output, {item.call_id})"
        if text:
            told.append(Passage(speaker=_speaker(item), text=text, waiting=waiting))
    return tuple(told)


def of_summary(text: str) -> tuple[Passage, ...]:
    """A summary's words, and each thing it lists beneath them."""
    lines = text.split("\n")
    words = "\n".join(line for line in lines if not line.startswith(KEPT_HEADING)).strip()
    listed = [
        Passage(speaker="kept", text=entry.strip())
        for line in lines
        if line.startswith(KEPT_HEADING)
        for entry in line.removeprefix(KEPT_HEADING).split(KEPT_SEPARATOR)
        if entry.strip()
    ]
    return (*((Passage(speaker="summary", text=words),) if words else ()), *listed)


def text_of(item: Item) -> str:
    """What a reader of the conversation reads in one item."""
    return "\n".join(_texts(_decode(item.raw))).strip()


def _speaker(item: Item) -> str:
    if item.role in {"system", "developer"}:
        return "user"
    if item.role is not None:
        return item.role
    return "tool" if pairing.answer_to_call(item) else "assistant"


def _texts(value: Any) -> Iterator[str]:
    # A stack of its own: items may be nested as deep as their parser lets them be.
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        key, current = waiting.pop()
        if isinstance(current, str):
            if key not in _UNREAD and not key.endswith("call_id"):
                yield _DATA if _BLOB.match(current) else current
        elif key in _UNREAD:
            continue
        elif isinstance(current, list):
            waiting.extend((key, inner) for inner in reversed(current))
        elif isinstance(current, dict) and current.get("type") not in _UNREAD_TYPES:
            waiting.extend(reversed(current.items()))
