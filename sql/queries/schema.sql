-- What makes a schema, and what tells its state.

-- name: version
-- The number of the newest migration.
SELECT max(number) FROM meeta.migrations;

-- name: exist
-- Is there a schema?
SELECT to_regclass('meeta.migrations') IS NOT NULL;

-- name: migrations
-- The migrations that were applied, in order.
SELECT number, name, sha256 FROM meeta.migrations ORDER BY number;

-- name: lock
-- Wait until no other process upgrades this database, and keep others waiting until the session ends.
SELECT pg_advisory_lock(hashtextextended('meeta.migrations', 0));

-- name: prepare
-- Create the schema and the table that says what made it. IF NOT EXISTS would ask for the right to create a schema even
-- where it stands.
DO $$
BEGIN
    IF to_regnamespace('meeta') IS NULL THEN
        CREATE SCHEMA meeta;
        COMMENT ON SCHEMA meeta IS 'meeta_bot: what happened in Jitsi meetings.';
    END IF;
    IF to_regclass('meeta.migrations') IS NULL THEN
        CREATE TABLE meeta.migrations (
            number integer PRIMARY KEY,
            name text NOT NULL,
            sha256 bytea NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE meeta.migrations IS 'Which files of sql/migrations made this schema.';
        COMMENT ON COLUMN meeta.migrations.number IS 'The number that the file''s name begins with.';
        COMMENT ON COLUMN meeta.migrations.name IS 'Name of the file without its ending.';
        COMMENT ON COLUMN meeta.migrations.sha256 IS 'SHA-256 of the file as it was applied.';
        COMMENT ON COLUMN meeta.migrations.applied_at IS 'When it was applied.';
    END IF;
END
$$;

-- name: record_migration
-- Note that a migration was applied.
-- $1 number, $2 name, $3 SHA-256
INSERT INTO meeta.migrations (number, name, sha256) VALUES ($1, $2, $3);

-- name: ensure_partitions
-- Create the partitions of this month and those after it.
-- $1 how many months
SELECT meeta.ensure_partitions(now(), $1::integer);

-- name: server_time_ms
-- The server's clock, in milliseconds after 1970 in UTC.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
