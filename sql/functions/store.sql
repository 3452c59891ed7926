CREATE OR REPLACE FUNCTION meeta.store(
    batch meeta.incoming[], OUT stored bigint, OUT fresh_capture_ids uuid[], OUT fresh_seqs bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    fresh_types text[];
BEGIN
    WITH fresh AS (
        INSERT INTO meeta.events AS event (
            capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial, inferred,
            payload, salt, commitment, digest, quarantine_reason)
        -- As meeta.moment does it, without numeric, which would cost as much as all the rest of a row.
        SELECT capture_id, seq, type, origin, room, endpoint_id,
            timestamptz 'epoch' + (occurred_at / 1000)::double precision * interval '1 second'
                + (occurred_at % 1000)::double precision * interval '1 millisecond',
            monotonic_ms,
            timestamptz 'epoch' + (server_at / 1000)::double precision * interval '1 second'
                + (server_at % 1000)::double precision * interval '1 millisecond',
            initial, inferred, payload, salt, commitment, digest, quarantine_reason
        FROM unnest(batch)
        ON CONFLICT (capture_id, seq) DO NOTHING
        RETURNING event.capture_id, event.seq, event.type
    )
    SELECT array_agg(capture_id), array_agg(seq), array_agg(type)
    INTO fresh_capture_ids, fresh_seqs, fresh_types
    FROM fresh;

    stored := coalesce(cardinality(fresh_seqs), 0);
    IF stored > 0 THEN
        PERFORM meeta.project(fresh_capture_ids, fresh_seqs, fresh_types);
    END IF;
    IF stored = cardinality(batch) THEN
        fresh_capture_ids := NULL;
        fresh_seqs := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION meeta.store(meeta.incoming[]) IS
    'Inserts the events that are new and projects them. Tells how many that were, and which, unless all were.';
