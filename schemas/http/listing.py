"""Query and page of ``GET /v1/turnlog/conversations``."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from schemas import queries
from schemas.http import checks
from schemas.http.errors import Invalid

METADATA = "metadata."
"""What the names of parameters begin with that are compared with metadata."""
TEXT_LENGTH_MAX = 1_000
TOKENS_MAX = 2**53
TIMES = ("created_after", "created_before", "updated_after", "updated_before")
_SECONDS = re.compile("[0-9]{1,11}")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


class ConversationListed(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as clients see it, and how much it holds; times in unix seconds.

    ``tokens`` are those of its next window before new input.
    """

    id: str
    object: str = "conversation"
    created_at: int
    metadata: msgspec.Raw
    updated_at: int
    items: int
    turns: int
    tokens: int


class ConversationList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of conversations; page on with ``after=last_id`` while ``has_more``."""

    object: str = "list"
    data: tuple[ConversationListed, ...]
    first_id: str | None
    has_more: bool
    last_id: str | None


def read_listing(
    query: Sequence[tuple[str, str]], *, project: str, sequence: int
) -> queries.Listing:
    """The question in a query; a name that means nothing here is refused: it would widen it."""
    limit, order, after = checks.page(query)
    metadata: dict[str, str] = {}
    times: dict[str, datetime] = {}
    tokens: dict[str, int] = {}
    texts: dict[str, str] = {}
    for name, value in query:
        match name:
            case "limit" | "order" | "after":
                pass
            case "created_after" | "created_before" | "updated_after" | "updated_before":
                times[name] = _time(value, name)
            case "tokens_min" | "tokens_max":
                tokens[name] = checks.query_integer(value, name, least=0, most=TOKENS_MAX)
            case "model" | "text":
                if len(value) > TEXT_LENGTH_MAX:
                    raise checks.too_long(name, most=TEXT_LENGTH_MAX, length=len(value))
                if value:
                    texts[name] = value
            case _ if name.startswith(METADATA) and name != METADATA:
                metadata[name.removeprefix(METADATA)] = value
            case _:
                raise Invalid(
                    f"Unknown parameter: '{checks.told(name)}'.",
                    param=name[: checks.TOLD_LENGTH_MAX],
                    code="unknown_parameter",
                )
    return msgspec.convert(
        {
            "project": project,
            "metadata": metadata,
            **times,
            **tokens,
            **texts,
            "limit": limit,
            "after": after,
            "newest_first": order == "desc",
            "sequence": sequence,
        },
        queries.Listing,
    )


def _time(value: str, name: str) -> datetime:
    try:
        if _SECONDS.fullmatch(value):
            return datetime.fromtimestamp(int(value), UTC)
        if _DATE.match(value):
            time = datetime.fromisoformat(value)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Invalid(
        f"Invalid '{name}': '{checks.told(value)}'. Expected unix seconds, or a time.",
        param=name,
        code="invalid_value",
    )
