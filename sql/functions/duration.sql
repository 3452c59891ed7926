CREATE OR REPLACE FUNCTION meeta.duration(milliseconds bigint) RETURNS interval
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT make_interval(secs => least(greatest(milliseconds, -315569520000000), 315569520000000) / 1000.0)
$$;
COMMENT ON FUNCTION meeta.duration(bigint) IS
    'Milliseconds as an interval that shows as hours, minutes and seconds; within 10,000 years, since an interval has '
    'less room than a bigint.';
