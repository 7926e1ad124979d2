-- name: tables

-- One row per answer of the model: what the provider counted, and bills.
CREATE TABLE token_usage (
    response_id        VARCHAR,   -- the turn
    conversation_id    VARCHAR,   -- a hidden one for chains of responses
    project            VARCHAR,   -- tenant
    model              VARCHAR,   -- that answered, as the provider named it
    ended_at           TIMESTAMP, -- UTC; the end of the turn
    input_tokens       BIGINT,    -- sent, history included
    cached_tokens      BIGINT,    -- of input_tokens, read from the provider's cache
    cache_write_tokens BIGINT,    -- of input_tokens, written to the provider's cache
    output_tokens      BIGINT,    -- answered, reasoning included
    reasoning_tokens   BIGINT,    -- of output_tokens, spent on reasoning
    total_tokens       BIGINT,    -- input_tokens + output_tokens, as the provider said
    sequence           BIGINT     -- stream sequence of the turn's end
);

-- name: added

INSERT INTO token_usage (
    response_id, conversation_id, project, model, ended_at, input_tokens, cached_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, total_tokens, sequence
)
SELECT
    response_id, conversation_id, project, model, ended_at, counted[1], counted[2], counted[3],
    counted[4], counted[5], counted[6], sequence
FROM (
    SELECT
        *,
        json_extract_string(usage, [
            '$.input_tokens', '$.input_tokens_details.cached_tokens',
            '$.input_tokens_details.cache_write_tokens',
            '$.output_tokens', '$.output_tokens_details.reasoning_tokens',
            '$.total_tokens'
        ])::BIGINT[] AS counted
    FROM token_usage_added
);
