-- name: tables

-- One row per call of a tool among the items, whoever ran it, beside what answered it. A history
-- that a client sends along repeats its calls: origin = 'output' has each once.
CREATE VIEW tool_calls AS
WITH calls AS (
    SELECT *, json_extract_string(item, [
        '$.status', '$.error', '$.arguments', '$.input', '$.action', '$.actions', '$.operation',
        '$.code', '$.queries'
    ]) AS said
    FROM items WHERE type LIKE '%\_call' ESCAPE '\'
),
answers AS (
    SELECT *, regexp_replace(type, '(_call)?_output$', '_call') AS answered
    FROM items WHERE type LIKE '%\_output' ESCAPE '\' AND call_id IS NOT NULL
),
paired AS (
    SELECT
        calls.*,
        answers.response_id AS answered_in,
        -- What runs where the model does has its answer in the same item.
        coalesce(answers.added_at, CASE WHEN calls.call_id IS NULL THEN calls.added_at END)
            AS answered_at,
        coalesce(answers.item, CASE WHEN calls.call_id IS NULL THEN calls.item END) AS answer,
        coalesce(answer ->> '$.output', answer ->> '$.outputs', answer ->> '$.results',
            answer ->> '$.tools') AS output
    FROM calls ASOF LEFT JOIN answers
        ON answers.project = calls.project
        AND answers.conversation_id = calls.conversation_id
        AND answers.call_id = calls.call_id
        AND answers.answered = calls.type
        AND answers.sequence >= calls.sequence
)
SELECT
    conversation_id,                   -- the conversation it is in; a hidden one for chains
    project,                           -- tenant
    position,                          -- of the call on the line, from 0; NULL in a chain
    call_id,                           -- pairs it with its answer; NULL where one item has both
    item_id,                           -- fc_…, ctc_…, mcp_…: the call's item
    type,                              -- function_call, custom_tool_call, mcp_call, … all of tools
    name,                              -- the function, custom tool or tool of an MCP server
    coalesce(said[3], said[4], said[5], said[6], said[7], said[8], said[9])
        AS arguments,                  -- text as the model wrote it; JSON for most types
    output,                            -- of the first answer: text, or a JSON array of parts
    said[1] AS status,                 -- of the call's item: completed, in_progress, failed …
    CASE WHEN answered_at IS NOT NULL THEN coalesce(
        said[1] = 'failed' OR said[2] IS NOT NULL OR answer ->> '$.status' = 'failed'
        OR list_bool_or(list_transform(
            answer ->> '$.output[*].outcome.type', lambda outcome: outcome = 'timeout'))
        OR list_bool_or(list_transform(
            answer ->> '$.output[*].outcome.exit_code', lambda code: code <> '0'))
        OR CASE WHEN json_valid(output)
            THEN coalesce(output ->> '$.error', 'false') NOT IN ('false', 'null', '') END, false)
    END AS failed,                     -- its item or answer says so: status, error, exit code, or
                                       -- a field error in an output that is JSON; NULL unanswered
    added_at AS called_at,             -- UTC; when the call joined, for a turn's: the turn's end
    answered_at,                       -- UTC; when the answer joined; NULL while there is none
    date_sub('millisecond', added_at, answered_at)
        AS answer_ms,                  -- milliseconds from called_at to answered_at
    response_id,                       -- the turn the call came with; NULL: added by hand
    answered_in,                       -- the turn the answer came with; NULL likewise
    origin,                            -- of the call: output (of a model), input, added (by hand)
    deleted_at,                        -- UTC; the call's item was deleted
    sequence                           -- stream sequence of the commit the call joined with
FROM paired;
