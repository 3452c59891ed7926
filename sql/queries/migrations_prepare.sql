-- IF NOT EXISTS would ask for the right to create a schema even where it stands.
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
