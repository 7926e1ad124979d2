"""How ids are built, where that has a meaning: a response id carries its conversation's id."""

import re

CONVERSATION_PREFIX = "conv"
RESPONSE_PREFIX = "resp"

RESPONSE_SUFFIX_HEX = 18
"""Random hex digits a response id has after its conversation's digits."""

_ACCEPTED = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESPONSE = re.compile(rf"resp_([0-9a-z]{{8,41}})[0-9a-f]{{{RESPONSE_SUFFIX_HEX}}}")


def acceptable(value: str) -> bool:
    """Whether a client may name anything by this: 1 to 64 of ``A-Za-z0-9_-`` (contract 0.4)."""
    return _ACCEPTED.fullmatch(value) is not None


def conversation_of(response_id: str) -> str | None:
    """The conversation a response id leads to; ``None`` if no such id was ever minted here."""
    match = _RESPONSE.fullmatch(response_id)
    return f"{CONVERSATION_PREFIX}_{match.group(1)}" if match else None
