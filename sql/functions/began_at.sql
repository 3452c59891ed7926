-- after: functions/moment

CREATE OR REPLACE FUNCTION meeta.began_at(capture_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT meeta.moment((('x' || left(replace(capture_id::text, '-', ''), 12))::bit(48)::bigint)::numeric)
$$;
COMMENT ON FUNCTION meeta.began_at(uuid) IS 'The time in a UUIDv7; null when it lies after the year 9999.';
