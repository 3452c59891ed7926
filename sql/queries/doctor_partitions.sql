-- The months from this one on that have a partition of meeta.events, and this month (UTC).
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS this_month,
    ARRAY(
        SELECT replace(substr(relname, 8), '_', '-')
        FROM pg_catalog.pg_inherits
        JOIN pg_catalog.pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'meeta.events'::regclass
            AND relname >= 'events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')
        ORDER BY relname
    ) AS months
