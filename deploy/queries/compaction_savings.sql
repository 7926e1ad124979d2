-- What compaction saved: the tokens that summaries took out of windows, once and in every turn that
-- was asked for later, until the conversation's next summary; per project, day and method.
WITH made AS (
    SELECT *, tokens_before - tokens_after AS saved FROM compactions WHERE reverted_at IS NULL
),
later AS (
    SELECT made.project, made.conversation_id, made.sequence, count(*) AS turns
    FROM turns ASOF JOIN made
        ON turns.project = made.project
        AND turns.conversation_id = made.conversation_id
        AND turns.requested_at >= made.made_at
    GROUP BY ALL
)
SELECT
    project,
    made_at::DATE AS day,
    method,
    count(*) AS compactions,
    round(avg(tokens_before)) AS window_before,
    round(avg(tokens_after)) AS window_after,
    sum(saved) AS saved_tokens,
    sum(saved * coalesce(turns, 0)) AS saved_tokens_in_later_turns
FROM made LEFT JOIN later USING (project, conversation_id, sequence)
GROUP BY ALL
ORDER BY day DESC, project, method;
