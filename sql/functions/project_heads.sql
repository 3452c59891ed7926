CREATE OR REPLACE FUNCTION meeta.project_heads(capture_ids uuid[], seqs bigint[], types text[]) RETURNS void
LANGUAGE plpgsql
-- This runs for every batch, and planning it anew would cost more than running it. A plan that is kept must suit tables
-- that were empty when it was made: a row at a time, and asked for in the order of the primary key, which no other
-- index has. (All indexes of an empty month cost the same, and others would lead through a whole capture.)
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    -- A heartbeat changes nothing else, and there are many: it is no reason to recompute all facts of its capture.
    INSERT INTO meeta.captures AS known
        (capture_id, last_seq, last_at, last_monotonic_ms, head_digest, event_count, heartbeat_at)
    SELECT last.capture_id, last.seq, last.occurred_at, last.monotonic_ms, last.digest, fresh.event_count,
        CASE WHEN fresh.lives THEN (
            SELECT alive.occurred_at FROM meeta.events AS alive
            WHERE alive.capture_id = fresh.capture_id AND alive.type = 'capture.heartbeat'
            ORDER BY alive.seq DESC LIMIT 1) END
    FROM (SELECT capture_id, max(seq) AS seq, count(*) AS event_count, bool_or(type = 'capture.heartbeat') AS lives
          FROM unnest(capture_ids, seqs, types) AS row (capture_id, seq, type) GROUP BY capture_id) AS fresh
    CROSS JOIN LATERAL (SELECT * FROM meeta.events AS event
        WHERE event.capture_id = fresh.capture_id AND event.seq >= fresh.seq ORDER BY event.seq LIMIT 1) AS last
    ORDER BY last.capture_id
    ON CONFLICT (capture_id) DO UPDATE SET
        event_count = known.event_count + excluded.event_count,
        last_seq = greatest(known.last_seq, excluded.last_seq),
        last_at = CASE WHEN excluded.last_seq > known.last_seq THEN excluded.last_at ELSE known.last_at END,
        last_monotonic_ms = CASE WHEN excluded.last_seq > known.last_seq
            THEN excluded.last_monotonic_ms ELSE known.last_monotonic_ms END,
        head_digest = CASE WHEN excluded.last_seq > known.last_seq
            THEN excluded.head_digest ELSE known.head_digest END,
        heartbeat_at = coalesce(excluded.heartbeat_at, known.heartbeat_at);
END
$$;
COMMENT ON FUNCTION meeta.project_heads(uuid[], bigint[], text[]) IS
    'Counts new events, moves the heads of their captures and notes their last signs of life.';
