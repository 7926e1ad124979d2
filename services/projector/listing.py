"""Conversations by metadata, times, model, tokens and text: parameters all, never spliced.

Text is looked for in what items say, not by an index: DuckDB's is an extension that would have to
be downloaded, and it is made anew as a whole whenever a row comes. Reading a million items takes
about a second; an item without a backslash is not even parsed unless it matches as it stands.
"""

from datetime import UTC, datetime
from typing import Any

import duckdb
import msgspec

from schemas import queries
from schemas.queries import Listed, Listing, ListingAnswer
from services.projector import query

_SELECT = """
SELECT conversation_id, created_at, updated_at, metadata::VARCHAR, items, turns, tokens
FROM conversations AS listed
WHERE project = $project AND NOT hidden AND deleted_at IS NULL
"""
_CLAUSES = {
    "metadata": "json_contains(metadata, $metadata)",
    "created_after": "created_at >= $created_after",
    "created_before": "created_at < $created_before",
    "updated_after": "updated_at >= $updated_after",
    "updated_before": "updated_at < $updated_before",
    "tokens_min": "tokens >= $tokens_min",
    "tokens_max": "tokens <= $tokens_max",
    "model": """conversation_id IN (
        SELECT conversation_id FROM turns WHERE project = $project AND model = $model
    )""",
    "text": """conversation_id IN (
        SELECT conversation_id FROM items
        WHERE project = $project AND deleted_at IS NULL
            -- As it is stored, unless that has escapes.
            AND (contains(item, '\\') OR contains(lower(item), lower($text)))
            AND list_bool_or(list_transform(
                list_concat(
                    json_extract_string(item, '$.**.text'),
                    json_extract_string(item, '$.**.refusal'),
                    [
                        CASE WHEN json_type(item, path) = 'VARCHAR'
                        THEN json_extract_string(item, path) END
                        FOR path IN ['$.content', '$.arguments', '$.input', '$.output']
                    ]
                ),
                lambda said: contains(lower(said), lower($text))
            ))
    )""",
}
_BEHIND = {
    True: "(created_at, conversation_id) < ($at, $after)",
    False: "(created_at, conversation_id) > ($at, $after)",
}
_ORDER = {
    True: "ORDER BY created_at DESC, conversation_id DESC LIMIT $rows",
    False: "ORDER BY created_at, conversation_id LIMIT $rows",
}
_CURSOR = """
SELECT created_at FROM conversations
WHERE project = $project AND conversation_id = $after AND NOT hidden
"""


def listed(connection: duckdb.DuckDBPyConnection, asked: Listing) -> ListingAnswer:
    """The page; raises what `query.reason` tells. ``connection`` is closed."""
    try:
        sequence = query.stand(connection)
        given = _given(asked)
        clauses = [_CLAUSES[name] for name in _CLAUSES if name in given]
        if asked.after is not None:
            behind = {"project": asked.project, "after": asked.after}
            found = connection.execute(_CURSOR, behind).fetchall()
            if not found:
                return ListingAnswer(sequence=sequence, error=asked.after, code=queries.UNKNOWN)
            given |= {"after": asked.after, "at": found[0][0]}
            clauses.append(_BEHIND[asked.newest_first])
        statement = " AND ".join([_SELECT, *clauses]) + " " + _ORDER[asked.newest_first]
        values = {**given, "project": asked.project, "rows": asked.limit + 1}
        rows = connection.execute(statement, values).fetchall()
        return ListingAnswer(
            sequence=sequence,
            conversations=tuple(_listed(*row) for row in rows[: asked.limit]),
            has_more=len(rows) > asked.limit,
        )
    finally:
        connection.close()


def _given(asked: Listing) -> dict[str, Any]:
    """Values of the clauses that are wanted, by their name."""
    given = {name: getattr(asked, name) for name in _CLAUSES}
    given["metadata"] = msgspec.json.encode(asked.metadata).decode() if asked.metadata else None
    return {
        name: query.utc(value) if isinstance(value, datetime) else value
        for name, value in given.items()
        if value is not None
    }


def _listed(
    conversation_id: str,
    created_at: datetime,
    updated_at: datetime,
    metadata: str,
    *counts: int,
) -> Listed:
    items, turns, tokens = counts
    return Listed(
        conversation_id=conversation_id,
        created_at=created_at.replace(tzinfo=UTC),
        updated_at=updated_at.replace(tzinfo=UTC),
        metadata=msgspec.Raw(metadata.encode()),
        items=items,
        turns=turns,
        tokens=tokens,
    )
