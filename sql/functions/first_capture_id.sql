CREATE OR REPLACE FUNCTION meeta.first_capture_id(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT rpad(lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;
COMMENT ON FUNCTION meeta.first_capture_id(timestamptz) IS 'The smallest UUIDv7 of a moment: a bound of partitions.';
