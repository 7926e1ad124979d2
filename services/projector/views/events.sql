-- name: tables

-- One row per event of the log: an index, without content. What an event says is in the log itself:
-- `turnlog events` prints it.
CREATE TABLE events (
    sequence        BIGINT,    -- stream sequence of the commit that holds it
    number          INTEGER,   -- place in its commit, from 0; most commits hold one event
    conversation_id VARCHAR,   -- the conversation it is of
    project         VARCHAR,   -- tenant
    type            VARCHAR,   -- conversation_created, items_added, turn_completed, … all types
    version         INTEGER,   -- of its stored form
    committed_at    TIMESTAMP, -- UTC; when its commit was made
    actor           VARCHAR,   -- the process that made it: gateway-…, responder-…, compactor-…
    response_id     VARCHAR,   -- the turn it is of; NULL for events of no turn
    bytes           INTEGER    -- length of its data as it is stored, JSON
);

-- name: added

INSERT INTO events (
    sequence, number, conversation_id, project, type, version, committed_at, actor, response_id,
    bytes
)
SELECT
    sequence, number, conversation_id, project, type, version, committed_at, actor, response_id,
    bytes
FROM events_added;

-- name: erased

DELETE FROM events USING events_erased AS erased
WHERE events.conversation_id = erased.conversation_id
    AND events.project = erased.project
    AND events.sequence < erased.sequence;
