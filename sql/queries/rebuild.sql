-- Deriving captures, meetings, visits and gaps anew, in one transaction.

-- name: begin
-- Empty the derived tables. Writers wait until the rebuild commits; readers see the old tables until then.
LOCK TABLE meeta.captures, meeta.meetings, meeta.visits, meeta.gaps IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM meeta.gaps;
DELETE FROM meeta.visits;
DELETE FROM meeta.meetings;
DELETE FROM meeta.captures;

-- name: next_capture
-- The smallest capture_id after one; the primary keys of the partitions answer without reading the events.
-- $1 capture id
SELECT capture_id FROM meeta.events WHERE capture_id > $1 ORDER BY capture_id LIMIT 1;

-- name: chunk
-- Replay some events of one capture: the last seq that was taken and how many. No row when none is left.
-- $1 capture id, $2 the seq to go on after, $3 limit
WITH chunk AS (
    SELECT capture_id, seq, type FROM meeta.events WHERE capture_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
), gathered AS (
    SELECT array_agg(capture_id) AS capture_ids, array_agg(seq) AS seqs, array_agg(type) AS types,
        max(seq) AS last, count(*) AS replayed
    FROM chunk
)
SELECT last, replayed, meeta.project(capture_ids, seqs, types)::text FROM gathered WHERE last IS NOT NULL;
