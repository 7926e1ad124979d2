-- name: tables

-- One row per conversation, deleted and hidden ones included.
CREATE TABLE conversations (
    conversation_id VARCHAR,   -- conv_…; unique within its project
    project         VARCHAR,   -- tenant; 'default' without API keys
    hidden          BOOLEAN,   -- true: only carries a chain of responses, has no items on its line
    created_at      TIMESTAMP, -- UTC, of its first commit
    updated_at      TIMESTAMP, -- UTC, of its latest commit
    deleted_at      TIMESTAMP, -- UTC; NULL while clients may address it
    metadata        JSON,      -- object of strings, as the client set it: metadata ->> 'topic'
    items           INTEGER,   -- items standing on its line: joined, and not deleted since
    turns           INTEGER,   -- turns admitted, whatever became of them
    tokens          BIGINT,    -- model tokens of the next window before new input
    sequence        BIGINT     -- stream sequence of its latest commit
);

-- name: added

INSERT INTO conversations (
    conversation_id, project, hidden, created_at, updated_at, deleted_at, metadata, items, turns,
    tokens, sequence
)
SELECT
    conversation_id, project, coalesce(hidden, false), created_at, updated_at, deleted_at,
    coalesce(metadata, '{}'), items, turns, tokens, sequence
FROM conversations_added;

-- name: changed

UPDATE conversations SET
    hidden = coalesce(changed.hidden, conversations.hidden),
    updated_at = changed.updated_at,
    deleted_at = coalesce(changed.deleted_at, conversations.deleted_at),
    metadata = coalesce(changed.metadata, conversations.metadata),
    items = conversations.items + changed.items,
    turns = conversations.turns + changed.turns,
    tokens = changed.tokens,
    sequence = changed.sequence
FROM conversations_changed AS changed
WHERE conversations.conversation_id = changed.conversation_id
    AND conversations.project = changed.project;

-- name: erased

DELETE FROM conversations USING conversations_erased AS erased
WHERE conversations.conversation_id = erased.conversation_id
    AND conversations.project = erased.project;
