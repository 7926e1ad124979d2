-- The conversations with the longest windows: what the model is sent with every turn.
SELECT
    project,
    conversation_id,
    tokens AS window_tokens,
    items,
    turns,
    metadata ->> 'user_id' AS user_id,
    date_diff('day', created_at, updated_at) AS days,
    created_at,
    updated_at
FROM conversations
WHERE deleted_at IS NULL AND NOT hidden
ORDER BY tokens DESC, conversation_id
LIMIT 50;
