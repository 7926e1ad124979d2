-- name: tables

-- One row per erased conversation and day on which something was committed to it. All other views
-- held it on these days, and hold nothing of it any more.
CREATE TABLE erasures (
    conversation_id VARCHAR,   -- the conversation that was erased
    project         VARCHAR,   -- tenant
    erased_at       TIMESTAMP, -- when that was, UTC; from conversation_erased, as are the others
    commits         BIGINT,    -- commits of the log it consisted of
    day             DATE,      -- a day of its life, by UTC
    sequence        BIGINT     -- stream sequence of its erasure
);

-- name: added

INSERT INTO erasures (conversation_id, project, erased_at, commits, day, sequence)
SELECT conversation_id, project, erased_at, commits, day, sequence FROM erasures_added;
