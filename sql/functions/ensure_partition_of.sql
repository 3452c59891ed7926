-- after: functions/began_at, functions/ensure_partition

CREATE OR REPLACE FUNCTION meeta.ensure_partition_of(capture_id uuid) RETURNS boolean
LANGUAGE sql AS $$
    -- The bounds keep a broken clock from littering the schema. This is no projection, so now() is in place.
    SELECT CASE WHEN meeta.began_at(capture_id) >= timestamptz '2020-01-01 00:00:00+00'
                 AND meeta.began_at(capture_id) < now() + interval '24 months'
           THEN meeta.ensure_partition(meeta.began_at(capture_id)) ELSE false END
$$;
COMMENT ON FUNCTION meeta.ensure_partition_of(uuid) IS
    'Makes sure that events of a capture have a partition. False when its id is no UUIDv7 between 2020 and two years '
    'from now, or its month has been taken out.';
