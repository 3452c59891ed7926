-- after: functions/whole

CREATE OR REPLACE FUNCTION meeta.length_ms(spans int8multirange) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT meeta.whole(coalesce(sum(upper(span)::numeric - lower(span)), 0)) FROM unnest(spans) AS span
$$;
COMMENT ON FUNCTION meeta.length_ms(int8multirange) IS 'How many milliseconds all intervals of a set have together.';
