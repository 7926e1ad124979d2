-- How often calls of tools fail, and how many were never answered. Calls count once: those a client
-- sent along as its own history are left out.
SELECT
    project,
    type,
    name,
    count(*) AS calls,
    count(*) FILTER (failed) AS failed,
    count(*) FILTER (answered_at IS NULL) AS unanswered,
    round(100 * count(*) FILTER (failed) / nullif(count(failed), 0), 1) AS failed_percent,
    round(quantile_cont(answer_ms, 0.5)) AS answer_p50_ms
FROM tool_calls
WHERE origin = 'output'
GROUP BY ALL
ORDER BY failed DESC, calls DESC, project, type, name;
