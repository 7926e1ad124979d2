-- name: tables

-- One row per item that was ever part of a conversation or of a stored response. Items of a turn
-- appear when the turn completes; those of a failed turn never do. To read a field of an item:
-- item ->> '$.status'. It is not compressed: that would take a sixth of a rebuild.
CREATE TABLE items (
    conversation_id VARCHAR,   -- the conversation it is in; a hidden one for chains of responses
    position        INTEGER,   -- place on the conversation's line, from 0 without gaps, in the
                               -- order of joining; NULL for items of a chain, which has no line
    item_id         VARCHAR,   -- msg_…, fc_…, rs_…, cmp_…
    type            VARCHAR,   -- message, function_call, function_call_output, reasoning, … all types
    role            VARCHAR,   -- of a message: user, assistant, system, developer
    call_id         VARCHAR,   -- of a call and its output, of whatever kind of tool: what pairs them
    name            VARCHAR,   -- of a call: the function, custom tool or tool of an MCP server
    tokens          INTEGER,   -- model tokens by the bundled tokenizer
    item            VARCHAR USING COMPRESSION uncompressed, -- JSON, byte for byte as clients read it
    response_id     VARCHAR,   -- the turn it came with; NULL for items added by hand
    origin          VARCHAR,   -- added (by hand), input, output (of a turn), compaction,
                               -- forked (copied from another conversation)
    project         VARCHAR,   -- tenant
    added_at        TIMESTAMP, -- UTC; when it joined: for a turn's items, the turn's end
    deleted_at      TIMESTAMP, -- UTC; NULL while it stands
    sequence        BIGINT     -- stream sequence of the commit it joined with
);

-- name: added

INSERT INTO items (
    conversation_id, position, item_id, type, role, call_id, name, tokens, item, response_id,
    origin, project, added_at, sequence
)
SELECT
    conversation_id, position, head[1], head[2], head[3], head[4], head[5], tokens, item,
    response_id, origin, project, added_at, sequence
FROM (
    SELECT
        *,
        json_extract_string(item, ['$.id', '$.type', '$.role', '$.call_id', '$.name']) AS head
    FROM items_added
);

-- name: deleted

UPDATE items SET deleted_at = gone.deleted_at
FROM (
    -- The newest item of that id at the time: an id may be used again once its item was deleted.
    SELECT
        deleted.project, deleted.conversation_id, deleted.item_id, deleted.deleted_at,
        max(items.position) AS position
    FROM items_deleted AS deleted JOIN items
        ON items.conversation_id = deleted.conversation_id
        AND items.project = deleted.project
        AND items.item_id = deleted.item_id
        AND items.sequence <= deleted.sequence
    GROUP BY ALL
) AS gone
WHERE items.conversation_id = gone.conversation_id
    AND items.project = gone.project
    AND items.position = gone.position
    AND items.deleted_at IS NULL;

-- name: erased

DELETE FROM items USING items_erased AS erased
WHERE items.conversation_id = erased.conversation_id
    AND items.project = erased.project
    AND items.sequence < erased.sequence;
