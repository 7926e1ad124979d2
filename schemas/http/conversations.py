"""Bodies of ``/v1/conversations`` (contract 1.1)."""

import re
from collections.abc import Mapping

import msgspec

from schemas.http import checks, known
from schemas.http.checks import Fields
from schemas.http.errors import Invalid
from schemas.http.metadata import metadata

ITEMS_MAX = 20
"""Items one call may add (contract 1.1)."""
BUDGET_KEY = "turnlog.token_budget"
"""Key of the metadata that holds the budget of one conversation, in tokens; 0: never compacted."""
_BUDGET = re.compile("[0-9]{1,9}")


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as clients see it; ``created_at`` in unix seconds."""

    id: str
    object: str = "conversation"
    created_at: int
    metadata: dict[str, str]


class ConversationDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """What a delete answers."""

    id: str
    object: str = "conversation.deleted"
    deleted: bool = True


class ItemList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of items; the SDK pages on with ``after=last_id`` while ``has_more``."""

    object: str = "list"
    data: tuple[msgspec.Raw, ...]
    first_id: str | None
    has_more: bool
    last_id: str | None


def read_create(payload: bytes, *, strict: bool) -> tuple[dict[str, str], list[msgspec.Raw]]:
    """Metadata and raw items of a create; both may be absent or null."""
    given = _read(payload, known.CREATE_CONVERSATION, strict=strict)
    items = given.get("items")
    listed = [] if items is None or checks.is_null(items) else _items(items)
    return _metadata(given.get("metadata")), listed


def read_update(payload: bytes, *, strict: bool) -> dict[str, str]:
    """The metadata map that replaces the old one."""
    given = _read(payload, known.UPDATE_CONVERSATION, strict=strict)
    if "metadata" not in given:
        raise checks.missing("metadata")
    return _metadata(given["metadata"])


def read_items(payload: bytes, *, strict: bool) -> list[msgspec.Raw]:
    """The raw items to add."""
    given = _read(payload, known.CREATE_ITEMS, strict=strict)
    if "items" not in given:
        raise checks.missing("items")
    return _items(given["items"])


def token_budget(given: Mapping[str, str]) -> int | None:
    """The budget a conversation was given in its metadata; none if that holds no number."""
    written = given.get(BUDGET_KEY)
    return int(written) if written is not None and _BUDGET.fullmatch(written) else None


def _metadata(raw: msgspec.Raw | None) -> dict[str, str]:
    given = metadata(raw)
    if BUDGET_KEY in given and token_budget(given) is None:
        raise Invalid(
            f"Invalid 'metadata.{BUDGET_KEY}': '{checks.told(given[BUDGET_KEY])}'. Expected a "
            "whole number of tokens below 1000000000, or '0' for none.",
            param=f"metadata.{BUDGET_KEY}",
            code="invalid_value",
        )
    return given


def _read(payload: bytes, names: known.Names, *, strict: bool) -> Fields:
    given = checks.body(payload)
    if strict:
        known.refuse_unknown(given, names)
    return given


def _items(raw: msgspec.Raw) -> list[msgspec.Raw]:
    return checks.array(raw, "items", most=ITEMS_MAX)
