-- after: functions/moment, functions/whole

CREATE OR REPLACE FUNCTION meeta.project_gaps(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO meeta.gaps (capture_id, seq, cause, lost, from_at, to_at, evidence, missed, from_ms, to_ms)
    SELECT capture_id, seq, payload->>'cause', payload->>'lost',
        meeta.moment(payload->'from_at'), meeta.moment(payload->'to_at'),
        payload->>'evidence', meeta.whole(payload->'missed'),
        meeta.whole(payload->'from_ms'), meeta.whole(payload->'to_ms')
    FROM unnest(capture_ids, seqs) AS fresh (capture_id, seq)
    JOIN meeta.events USING (capture_id, seq)
    WHERE payload IS NOT NULL
    ON CONFLICT (capture_id, seq) DO NOTHING
$$;
COMMENT ON FUNCTION meeta.project_gaps(uuid[], bigint[]) IS 'Derives the gaps of capture.gap events.';
