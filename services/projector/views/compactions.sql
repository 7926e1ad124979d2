-- name: tables

-- One row per summary that took the place of items in the windows of its conversation. Those of
-- clients, which POST /v1/responses/compact answers with and windows bring along, have none, nor
-- have the copies that a fork begins with.
CREATE TABLE compactions (
    item_id         VARCHAR,   -- cmp_…, the compaction item; items has it too
    conversation_id VARCHAR,   -- the conversation it is in; a hidden one for chains of responses
    project         VARCHAR,   -- tenant
    response_id     VARCHAR,   -- the turn it was made in; NULL: in the background
    method          VARCHAR,   -- how the summary was made
    fallback        VARCHAR,   -- why not by the method that was chosen; NULL: by that one
    covered         INTEGER,   -- items below this position are replaced; in a chain: items of the
                               -- turn's own input below this number, and all before them
    covered_from    INTEGER,   -- positions from here on were told anew; what an earlier summary
                               -- told of those below was carried over. 0 in a chain
    kept            INTEGER,   -- items among those that stay in the window word for word
    tokens_before   BIGINT,    -- model tokens of the window without it, by the bundled tokenizer
    tokens_after    BIGINT,    -- model tokens of the window with it
    anchors_found   INTEGER,   -- names, numbers, ids … found in what was told anew
    anchors_kept    INTEGER,   -- of these, found in the summary
    summary         VARCHAR,   -- its text, which the item itself holds encrypted; empty where only
                               -- the model's server can read it
    made_at         TIMESTAMP, -- UTC; when it was stored: for one in a turn, the turn's end
    reverted_at     TIMESTAMP, -- UTC; its item was deleted; NULL while it stands
    sequence        BIGINT     -- stream sequence of the commit it was stored with
);

-- name: made

INSERT INTO compactions (
    item_id, conversation_id, project, response_id, method, fallback, covered, covered_from, kept,
    tokens_before, tokens_after, anchors_found, anchors_kept, summary, made_at, sequence
)
SELECT
    item_id, conversation_id, project, response_id, method, fallback, covered, covered_from, kept,
    tokens_before, tokens_after, anchors_found, anchors_kept, summary, made_at, sequence
FROM compactions_made;

-- name: reverted

UPDATE compactions SET reverted_at = reverted.reverted_at
FROM compactions_reverted AS reverted
WHERE compactions.conversation_id = reverted.conversation_id
    AND compactions.project = reverted.project
    AND compactions.item_id = reverted.item_id
    AND compactions.reverted_at IS NULL;

-- name: erased

DELETE FROM compactions USING compactions_erased AS erased
WHERE compactions.conversation_id = erased.conversation_id
    AND compactions.project = erased.project
    AND compactions.sequence < erased.sequence;
