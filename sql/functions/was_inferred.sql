CREATE OR REPLACE FUNCTION meeta.was_inferred(capture_id uuid, seq bigint, type text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((
        SELECT event.inferred AND event.type = was_inferred.type FROM meeta.events AS event
        WHERE event.capture_id = was_inferred.capture_id AND event.seq = was_inferred.seq), true)
$$;
COMMENT ON FUNCTION meeta.was_inferred(uuid, bigint, text) IS
    'Was this event, if it is of that type, found after a gap? Also true when it is no longer there.';
