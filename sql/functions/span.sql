CREATE OR REPLACE FUNCTION meeta.span(from_ms bigint, to_ms bigint) RETURNS int8multirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN from_ms < to_ms THEN int8multirange(int8range(from_ms, to_ms)) ELSE '{}' END
$$;
COMMENT ON FUNCTION meeta.span(bigint, bigint) IS
    'An interval as a set that others can be joined with or taken from; empty when it ends before it begins.';
