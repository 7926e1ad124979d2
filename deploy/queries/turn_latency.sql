-- How long turns take, from the request to the end that is stored, per model and status: half of
-- them, nine of ten, … are done within so many milliseconds.
SELECT
    model,
    status,
    count(*) AS turns,
    round(quantile_cont(duration_ms, 0.5)) AS p50_ms,
    round(quantile_cont(duration_ms, 0.9)) AS p90_ms,
    round(quantile_cont(duration_ms, 0.99)) AS p99_ms,
    max(duration_ms) AS longest_ms,
    round(avg(attempts), 2) AS attempts
FROM turns
WHERE ended_at IS NOT NULL
GROUP BY ALL
ORDER BY turns DESC, model, status;
