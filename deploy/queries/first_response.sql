-- How long users wait for the first answer of a conversation, from its first turn's request to the
-- end of the first turn that was answered, per project and week; and how many never got one.
WITH firsts AS (
    SELECT
        project,
        conversation_id,
        min(requested_at) AS requested_at,
        min(ended_at) FILTER (status IN ('completed', 'incomplete')) AS answered_at
    FROM turns
    GROUP BY ALL
),
waits AS (
    SELECT *, date_diff('millisecond', requested_at, answered_at) AS wait_ms FROM firsts
)
SELECT
    project,
    date_trunc('week', requested_at)::DATE AS week,
    count(*) AS conversations,
    count(*) FILTER (answered_at IS NULL) AS unanswered,
    round(quantile_cont(wait_ms, 0.5)) AS p50_ms,
    round(quantile_cont(wait_ms, 0.9)) AS p90_ms,
    round(quantile_cont(wait_ms, 0.99)) AS p99_ms
FROM waits
GROUP BY ALL
ORDER BY week DESC, project;
