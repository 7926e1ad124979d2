-- Tokens and cost per project, model and day. Put your own prices here, in dollars per million
-- tokens; the longest beginning of a model's name counts. Without a price there is no cost.
WITH prices (model_prefix, input, cached, output) AS (
    VALUES
        ('gpt-4.1', 2.00, 0.50, 8.00),
        ('gpt-4.1-mini', 0.40, 0.10, 1.60),
        ('gpt-5', 1.25, 0.125, 10.00),
        ('gpt-5-mini', 0.25, 0.025, 2.00),
        ('gpt-5-nano', 0.05, 0.005, 0.40),
        ('simulator', 1.00, 0.10, 2.00)
),
used AS (
    SELECT
        project, model, ended_at::DATE AS day,
        count(*) AS answers,
        sum(input_tokens) AS input_tokens,
        sum(coalesce(cached_tokens, 0)) AS cached_tokens,
        sum(output_tokens) AS output_tokens
    FROM token_usage
    GROUP BY ALL
),
priced AS (
    SELECT model, arg_max(prices, length(model_prefix)) AS price
    FROM (SELECT DISTINCT model FROM used) JOIN prices ON starts_with(model, model_prefix)
    GROUP BY model
)
SELECT
    used.*,
    round((
        (input_tokens - cached_tokens) * price.input
        + cached_tokens * price.cached
        + output_tokens * price.output
    ) / 1e6, 4) AS dollars
FROM used LEFT JOIN priced USING (model)
ORDER BY day DESC, project, model;
