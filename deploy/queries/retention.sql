-- Cohorts: of the users whose first turn was in one week, how many percent had turns in the weeks
-- after. Who a user is says the metadata of conversations, here user_id; without it, each
-- conversation, or chain of responses, counts as one.
WITH active AS (
    SELECT DISTINCT
        project,
        coalesce(metadata ->> 'user_id', conversation_id) AS user_id,
        date_trunc('week', requested_at)::DATE AS week
    FROM turns JOIN conversations USING (project, conversation_id)
),
numbered AS (
    SELECT
        project,
        user_id,
        min(week) OVER (PARTITION BY project, user_id) AS cohort,
        date_diff('week', min(week) OVER (PARTITION BY project, user_id), week) AS later
    FROM active
)
SELECT
    project,
    cohort,
    count(*) FILTER (later = 0) AS users,
    round(100 * count(*) FILTER (later = 1) / users, 1) AS week_1_percent,
    round(100 * count(*) FILTER (later = 2) / users, 1) AS week_2_percent,
    round(100 * count(*) FILTER (later = 3) / users, 1) AS week_3_percent,
    round(100 * count(*) FILTER (later = 4) / users, 1) AS week_4_percent,
    round(100 * count(*) FILTER (later = 8) / users, 1) AS week_8_percent
FROM numbered
GROUP BY ALL
ORDER BY cohort DESC, project;
