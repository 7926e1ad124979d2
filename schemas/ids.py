"""How ids are built, where that has a meaning: they carry the id of their conversation.

Responses and items are found by their id alone, without an index: it leads to one subject.
"""

import re

CONVERSATION_PREFIX = "conv"
RESPONSE_PREFIX = "resp"

RESPONSE_SUFFIX_HEX = 18
"""Random hex digits a response id has after its conversation's digits."""

ITEM_SUFFIX_HEX = 12
"""Random hex digits an item id has after its conversation's digits."""

_ACCEPTED = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESPONSE = re.compile(rf"resp_([0-9a-z]{{8,41}})[0-9a-f]{{{RESPONSE_SUFFIX_HEX}}}")

_ITEM = re.compile(rf"[a-z]{{2,5}}_([0-9a-z]{{8,41}})[0-9a-f]{{{ITEM_SUFFIX_HEX}}}")


def acceptable(value: str) -> bool:
    """Whether a client may name anything by this: 1 to 64 of ``A-Za-z0-9_-`` (contract 0.4)."""
    return _ACCEPTED.fullmatch(value) is not None


def conversation_of(response_id: str) -> str | None:
    """The conversation a response id leads to; ``None`` if no such id was ever minted here."""
    return _conversation(_RESPONSE.fullmatch(response_id))


def conversation_of_item(item_id: str) -> str | None:
    """The conversation an item id leads to; ``None`` if no such id was ever minted here."""
    return _conversation(_ITEM.fullmatch(item_id))


def _conversation(match: re.Match[str] | None) -> str | None:
    return f"{CONVERSATION_PREFIX}_{match.group(1)}" if match else None
