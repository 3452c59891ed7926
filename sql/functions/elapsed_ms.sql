-- after: functions/whole

CREATE OR REPLACE FUNCTION meeta.elapsed_ms(from_ms bigint, to_ms bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT meeta.whole(greatest(to_ms::numeric - from_ms::numeric, 0))
    WHERE from_ms IS NOT NULL AND to_ms IS NOT NULL
$$;
COMMENT ON FUNCTION meeta.elapsed_ms(bigint, bigint) IS
    'Milliseconds between two readings of a monotonic clock; never negative, null when one is unknown.';
