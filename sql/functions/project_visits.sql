CREATE OR REPLACE FUNCTION meeta.project_visits(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    touched_captures uuid[];
    touched_endpoints text[];
BEGIN
    SELECT array_agg(touched.capture_id), array_agg(touched.endpoint_id)
    INTO touched_captures, touched_endpoints
    FROM (SELECT DISTINCT event.capture_id, event.endpoint_id
          FROM unnest(capture_ids, seqs) AS fresh (capture_id, seq)
          JOIN meeta.events AS event ON event.capture_id = fresh.capture_id AND event.seq = fresh.seq
          WHERE event.endpoint_id IS NOT NULL) AS touched;
    DELETE FROM meeta.visits
    USING unnest(touched_captures, touched_endpoints) AS touched (capture_id, endpoint_id)
    WHERE visits.capture_id = touched.capture_id AND visits.endpoint_id = touched.endpoint_id;
    INSERT INTO meeta.visits SELECT * FROM meeta.visits_of(touched_captures, touched_endpoints);
END
$$;
COMMENT ON FUNCTION meeta.project_visits(uuid[], bigint[]) IS 'Recomputes the visits of the endpoints that events are about.';
