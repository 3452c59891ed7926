-- Replays up to $3 events of one capture after a seq: the last seq it took and how many. No row when none is left.
WITH chunk AS (
    SELECT capture_id, seq, type FROM meeta.events WHERE capture_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
), gathered AS (
    SELECT array_agg(capture_id) AS capture_ids, array_agg(seq) AS seqs, array_agg(type) AS types,
        max(seq) AS last, count(*) AS replayed
    FROM chunk
)
SELECT last, replayed, meeta.project(capture_ids, seqs, types)::text FROM gathered WHERE last IS NOT NULL
