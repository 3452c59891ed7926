-- What makes a schema, and what tells its state.

-- name: version
-- The number of the newest migration, and whether one of them is from before the first release.
-- $1 the names that they had then
SELECT max(number) AS number, coalesce(bool_or(name = ANY ($1::text[])), false) AS is_from_before
FROM meeta.migrations;

-- name: migrations
-- The migrations that were applied, in order.
SELECT number, name, sha256 FROM meeta.migrations ORDER BY number;

-- name: definitions
-- The functions and views that were applied, as they were then, and by which version of the program.
SELECT name, sha256, program_version FROM meeta.definitions;

-- name: lock
-- Wait until no other process upgrades this database, and keep others waiting until the session ends.
SELECT pg_advisory_lock(hashtextextended('meeta.migrations', 0));

-- name: prepare
-- Create the schema and the tables that say what is in it. IF NOT EXISTS would ask for the right to create a schema even
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
    IF to_regclass('meeta.definitions') IS NULL THEN
        CREATE TABLE meeta.definitions (
            name text PRIMARY KEY,
            sha256 bytea NOT NULL,
            program_version text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE meeta.definitions IS 'Which files of sql/functions and sql/views made the functions and views.';
        COMMENT ON COLUMN meeta.definitions.name IS 'Folder and name of the file without its ending: views/timeline.';
        COMMENT ON COLUMN meeta.definitions.sha256 IS 'SHA-256 of the file as it was applied, the last time.';
        COMMENT ON COLUMN meeta.definitions.program_version IS 'Version of the meeta_bot that applied it.';
        COMMENT ON COLUMN meeta.definitions.applied_at IS 'When it was applied, the last time.';
    END IF;
END
$$;

-- name: record_migration
-- Note that a migration was applied.
-- $1 number, $2 name, $3 SHA-256
INSERT INTO meeta.migrations (number, name, sha256) VALUES ($1, $2, $3);

-- name: record_definition
-- Note that a function or view was applied.
-- $1 name, $2 SHA-256, $3 version of the program
INSERT INTO meeta.definitions (name, sha256, program_version) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET
    sha256 = excluded.sha256, program_version = excluded.program_version, applied_at = excluded.applied_at;

-- name: forget_definitions
-- Forget functions and views that a migration has taken away.
-- $1 names of those that there are
DELETE FROM meeta.definitions WHERE name <> ALL ($1::text[]);

-- name: ensure_partitions
-- Create the partitions of this month and those after it.
-- $1 how many months
SELECT meeta.ensure_partitions(now(), $1::integer);

-- name: server_time_ms
-- The server's clock, in milliseconds after 1970 in UTC.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
