-- What `doctor` asks of the database. Nothing is changed.

-- name: server
-- Which database this is, where, and as whom.
SELECT current_database()::text AS database, current_user::text AS role,
    host(inet_server_addr()) || ':' || inet_server_port() AS place;

-- name: rights
-- What this role may do, and whether the server takes writes. Reads catalogs only, so it asks for no right itself.
WITH wanted (name, changes) AS (
    VALUES ('events', false), ('quarantine', false), ('captures', true), ('meetings', true), ('visits', true),
        ('gaps', true), ('migrations', false), ('definitions', false)
), standing AS (
    SELECT pg_class.oid, relname, relowner, changes
    FROM pg_catalog.pg_class
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    JOIN wanted ON name = relname
    WHERE nspname = 'meeta' AND relkind IN ('r', 'p')
)
SELECT current_user::text AS role,
    pg_is_in_recovery() AS is_standby,
    current_setting('default_transaction_read_only')::boolean AS is_read_only,
    EXISTS (SELECT FROM standing) AS has_schema,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
    coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = 'meeta'), false)
        AS may_use_schema,
    -- Partitions are attached by the owner of the table, or a member of that role.
    coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM standing WHERE relname = 'events'), false)
        AND coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace WHERE nspname = 'meeta'),
            false) AS may_create_partitions,
    ARRAY(
        SELECT relname::text FROM standing
        WHERE NOT (has_table_privilege(oid, 'SELECT')
            AND (relname IN ('migrations', 'definitions') OR has_table_privilege(oid, 'INSERT'))
            AND (NOT changes OR has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')))
        ORDER BY relname
    ) AS not_writable;

-- name: partitions
-- The months from this one on that have a partition of meeta.events, and this month (UTC).
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS this_month,
    ARRAY(
        SELECT replace(substr(relname, 8), '_', '-')
        FROM pg_catalog.pg_inherits
        JOIN pg_catalog.pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'meeta.events'::regclass
            AND relname >= 'events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')
        ORDER BY relname
    ) AS months;

-- name: quarantine
-- How many events wait in quarantine, by kind.
SELECT count(*) FILTER (WHERE kind = 'refused') AS refused, count(*) FILTER (WHERE kind = 'conflict') AS conflicts
FROM meeta.quarantine;
