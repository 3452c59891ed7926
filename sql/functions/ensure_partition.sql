-- People look at meetings that have just been. Until VACUUM has seen their pages no index can answer alone: counting
-- types or finding a participant's events then reads the events themselves. By PostgreSQL's defaults that lasts until
-- a month has grown by a fifth; in these partitions until 2,000 events, about a meeting, have come. A VACUUM reads only
-- pages that are new.

CREATE OR REPLACE FUNCTION meeta.ensure_partition(month timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    first_day timestamp := date_trunc('month', month AT TIME ZONE 'UTC');
    lower_bound uuid := meeta.first_capture_id(first_day AT TIME ZONE 'UTC');
    upper_bound uuid := meeta.first_capture_id((first_day + interval '1 month') AT TIME ZONE 'UTC');
    partition text := 'events_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass('meeta.' || partition) IS NULL THEN
        -- Whoever comes second waits here and then finds the table: in pg_class, for to_regclass may answer from a
        -- cache that is older than the wait. Keyed by name: other months needn't wait.
        PERFORM pg_advisory_xact_lock(hashtextextended('meeta.partition.' || partition, 0));
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_class
                       WHERE relname = partition AND relnamespace = 'meeta'::regnamespace) THEN
            -- Created apart and then attached: ATTACH lets inserts into other partitions go on.
            EXECUTE format('CREATE TABLE meeta.%I (LIKE meeta.events INCLUDING ALL)'
                ' WITH (autovacuum_vacuum_insert_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 0)',
                partition);
            EXECUTE format(
                'ALTER TABLE meeta.events ATTACH PARTITION meeta.%I FOR VALUES FROM (%L) TO (%L)',
                partition, lower_bound, upper_bound);
        END IF;
    END IF;
    RETURN EXISTS (
        SELECT FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class ON pg_class.oid = inhrelid
        WHERE relname = partition AND relnamespace = 'meeta'::regnamespace AND inhparent = 'meeta.events'::regclass);
END
$$;
COMMENT ON FUNCTION meeta.ensure_partition(timestamptz) IS
    'Creates the partition of a month (in UTC) unless it exists. False when a table of its name exists that is not '
    'attached: somebody is taking that month out, and it stays out.';
