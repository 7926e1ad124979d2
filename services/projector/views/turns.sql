-- name: tables

-- Turns that have ended; read them, and those in progress, from the view turns.
CREATE TABLE turns_ended (
    response_id        VARCHAR,   -- resp_…, the turn's public face
    conversation_id    VARCHAR,   -- the conversation it belongs to; a hidden one for chains
    project            VARCHAR,   -- tenant
    parent_response_id VARCHAR,   -- the response it follows in a chain; NULL for none
    on_line            BOOLEAN,   -- its items join the conversation's line
    stored             BOOLEAN,   -- clients may read the response object (store)
    model              VARCHAR,   -- that answered; as asked for, while in progress or failed
    status             VARCHAR,   -- in_progress, completed, incomplete, failed, cancelled
    attempts           INTEGER,   -- from 1; more when a responder was lost
    requested_at       TIMESTAMP, -- UTC; admitted
    ended_at           TIMESTAMP, -- UTC; NULL while in progress
    duration_ms        BIGINT,    -- milliseconds from requested_at to ended_at
    input_items        INTEGER,   -- items of the request itself, without history
    output_items       INTEGER,   -- items the model answered with, or had said by then
    input_tokens       BIGINT,    -- by the provider's count, history included; NULL without an answer
    cached_tokens      BIGINT,    -- of input_tokens, read from the provider's cache
    cache_write_tokens BIGINT,    -- of input_tokens, written to the provider's cache
    output_tokens      BIGINT,    -- by the provider's count
    reasoning_tokens   BIGINT,    -- of output_tokens, spent on reasoning
    total_tokens       BIGINT,    -- input_tokens + output_tokens, as the provider said
    reason             VARCHAR,   -- why an incomplete answer ended: max_output_tokens …
    error_code         VARCHAR,   -- why a turn failed: server_error …
    deleted_at         TIMESTAMP, -- UTC; the response object was deleted (its items were not)
    sequence           BIGINT     -- stream sequence of the turn's latest event
);

-- Turns in progress: few, and the only place where their input is kept until they end.
CREATE TABLE turns_running (
    response_id     VARCHAR,   -- this and the next four as in turns_ended
    conversation_id VARCHAR,
    project         VARCHAR,
    attempts        INTEGER,
    requested_at    TIMESTAMP,
    request         VARCHAR,   -- the stored event turn_requested (JSON)
    begun           BIGINT,    -- stream sequence of the request
    sequence        BIGINT     -- stream sequence of the turn's latest event
);

-- One row per turn.
CREATE VIEW turns AS
SELECT * FROM turns_ended
UNION ALL BY NAME
SELECT
    response_id,
    conversation_id,
    project,
    request ->> '$.data.parent' AS parent_response_id,
    coalesce((request ->> '$.data.on_line')::BOOLEAN, false) AS on_line,
    coalesce((request ->> '$.data.store')::BOOLEAN, true) AS stored,
    request ->> '$.data.model' AS model,
    'in_progress' AS status,
    attempts,
    requested_at,
    json_array_length(request, '$.data.items')::INTEGER AS input_items,
    sequence
FROM turns_running;

-- name: running

SELECT project, conversation_id, request, epoch_us(requested_at), begun, sequence, attempts
FROM turns_running;

-- name: forgotten

DELETE FROM turns_running USING turns_forgotten AS forgotten
WHERE turns_running.conversation_id = forgotten.conversation_id
    AND turns_running.project = forgotten.project
    AND turns_running.response_id = forgotten.response_id;

-- name: remembered

INSERT INTO turns_running (
    response_id, conversation_id, project, attempts, requested_at, request, begun, sequence
)
SELECT response_id, conversation_id, project, attempts, requested_at, request, begun, sequence
FROM turns_remembered;

-- name: added

INSERT INTO turns_ended (
    response_id, conversation_id, project, parent_response_id, on_line, stored, model, status,
    attempts, requested_at, ended_at, duration_ms, input_items, output_items, input_tokens,
    cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, total_tokens, reason,
    error_code, sequence
)
SELECT
    response_id, conversation_id, project, parent_response_id, on_line, stored, model, status,
    attempts, requested_at, ended_at, date_sub('millisecond', requested_at, ended_at),
    input_items, output_items, counted[1], counted[2], counted[3], counted[4], counted[5],
    counted[6], reason, error_code, sequence
FROM (
    SELECT
        *,
        json_extract_string(usage, [
            '$.input_tokens', '$.input_tokens_details.cached_tokens',
            '$.input_tokens_details.cache_write_tokens', '$.output_tokens',
            '$.output_tokens_details.reasoning_tokens', '$.total_tokens'
        ])::BIGINT[] AS counted
    FROM turns_added
);

-- name: deleted

UPDATE turns_ended SET deleted_at = deleted.deleted_at
FROM turns_deleted AS deleted
WHERE turns_ended.conversation_id = deleted.conversation_id
    AND turns_ended.project = deleted.project
    AND turns_ended.response_id = deleted.response_id;

-- name: erased_running

DELETE FROM turns_running USING turns_erased_running AS erased
WHERE turns_running.conversation_id = erased.conversation_id
    AND turns_running.project = erased.project;

-- name: erased

DELETE FROM turns_ended USING turns_erased AS erased
WHERE turns_ended.conversation_id = erased.conversation_id
    AND turns_ended.project = erased.project;
