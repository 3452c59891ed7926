CREATE OR REPLACE FUNCTION meeta.whole(value numeric) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- A quarter of bigint's range, so that sums and differences of two results can't overflow.
    SELECT trunc(least(greatest(value, -2305843009213693952), 2305843009213693952))::bigint
$$;
COMMENT ON FUNCTION meeta.whole(numeric) IS 'A whole number within -2^61 to 2^61.';

CREATE OR REPLACE FUNCTION meeta.whole(value jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(value) WHEN 'number' THEN meeta.whole(value::numeric) END
$$;
COMMENT ON FUNCTION meeta.whole(jsonb) IS 'The same of a JSON number; null of anything else.';
