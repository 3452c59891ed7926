-- What reading needs in databases that are young, or whose newest month is.

-- --- answers from indexes alone, soon ---------------------------------------------------------------------------------
--
-- People look at meetings that have just been. Until VACUUM has seen their pages no index can answer alone: counting
-- types or finding a participant's events then reads the events themselves. By PostgreSQL's defaults that lasts until
-- a month has grown by a fifth; from now on until 2,000 events, about a meeting, have come. A VACUUM reads only pages
-- that are new.

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

DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = 'meeta.events'::regclass LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_insert_threshold = 2000,'
            ' autovacuum_vacuum_insert_scale_factor = 0)', partition);
    END LOOP;
END
$$;

-- --- names in meeta.timeline ------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW meeta.timeline AS
SELECT capture.meeting_id, event.capture_id, event.seq, event.occurred_at, event.monotonic_ms, event.type,
    event.endpoint_id,
    -- Looked up only when the column is asked for; the index by endpoint leads straight to these few events. The sum
    -- keeps planners from going backwards through all events instead, in the hope to meet one of them soon.
    (SELECT CASE named.type WHEN 'participant.joined' THEN named.payload->>'display_name'
                ELSE named.payload->>'new_name' END
     FROM meeta.events AS named
     WHERE named.capture_id = event.capture_id AND named.endpoint_id = event.endpoint_id
         AND named.type IN ('participant.joined', 'participant.renamed') AND named.payload IS NOT NULL
         AND named.seq <= event.seq
     ORDER BY named.seq + 0 DESC LIMIT 1) AS display_name,
    (SELECT visit.person FROM meeta.visit_times AS visit
     WHERE visit.capture_id = event.capture_id AND visit.endpoint_id = event.endpoint_id
     ORDER BY visit.joined_seq <= event.seq DESC, abs(visit.joined_seq - event.seq) LIMIT 1) AS person,
    event.payload, event.initial, event.inferred
FROM meeta.captures AS capture
JOIN meeta.events AS event ON event.capture_id = capture.capture_id
WHERE event.type NOT IN ('capture.hook_installed', 'capture.heartbeat', 'capture.join_in_progress',
    'conference.properties_changed', 'conference.p2p_changed', 'connection.established', 'connection.disconnected',
    'connection.stats_updated', 'bridge_channel.opened', 'media.connected', 'meeting.identified', 'message.endpoint',
    'participant.property_changed', 'recording.pending', 'track.added', 'track.removed', 'unknown');
