-- after: functions/ensure_partition

CREATE OR REPLACE FUNCTION meeta.ensure_partitions("from" timestamptz, months integer) RETURNS integer
LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE meeta.ensure_partition(date_trunc('month', "from", 'UTC') + make_interval(months => ahead)))::integer
    FROM generate_series(0, months - 1) AS ahead
$$;
COMMENT ON FUNCTION meeta.ensure_partitions(timestamptz, integer) IS
    'Creates the partitions of so many months, beginning with the one that `from` lies in; the number that stand.';
