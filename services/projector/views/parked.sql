-- name: tables

-- One row per commit that could not be projected, of a later release most likely. The other views
-- lack what it changed: rows of its conversation are wrong or missing, no others. Leave them out by
-- (project, conversation_id) NOT IN (SELECT project, conversation_id FROM parked).
CREATE TABLE parked (
    sequence        BIGINT,    -- stream sequence of the commit
    conversation_id VARCHAR,   -- the conversation whose rows are incomplete from then on
    project         VARCHAR,   -- tenant
    error           VARCHAR    -- why, without anything of its content
);

-- name: passed

INSERT INTO parked (sequence, conversation_id, project, error)
VALUES ($sequence, $conversation_id, $project, $error);

-- name: all

SELECT sequence, project, conversation_id, error FROM parked ORDER BY sequence;
