-- name: tables

-- One row per answer of the model: what the provider counted, and bills.
CREATE VIEW token_usage AS
SELECT
    response_id,        -- the turn
    conversation_id,    -- a hidden one for chains of responses
    project,            -- tenant
    model,              -- that answered, as the provider named it
    ended_at,           -- UTC; the end of the turn
    input_tokens,       -- sent, history included
    cached_tokens,      -- of input_tokens, read from the provider's cache
    cache_write_tokens, -- of input_tokens, written to the provider's cache
    output_tokens,      -- answered, reasoning included
    reasoning_tokens,   -- of output_tokens, spent on reasoning
    total_tokens,       -- input_tokens + output_tokens, as the provider said
    sequence            -- stream sequence of the turn's end
FROM turns_ended
WHERE status IN ('completed', 'incomplete');
