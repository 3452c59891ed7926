-- One call stores a batch and projects what was new in it, and projections do only what a batch makes necessary: the
-- result is the same as before, and as that of a rebuild.

-- --- storing --------------------------------------------------------------------------------------------------------

CREATE TYPE meeta.incoming AS (
    capture_id uuid,
    seq bigint,
    type text,
    origin text,
    room text,
    endpoint_id text,
    occurred_at bigint,
    monotonic_ms bigint,
    server_at bigint,
    initial boolean,
    inferred boolean,
    payload jsonb,
    salt bytea,
    commitment bytea,
    digest bytea,
    quarantine_reason text
);
COMMENT ON TYPE meeta.incoming IS
    'A row for meeta.events as a writer sends it: times are whole milliseconds after 1970 in UTC, which readers can show.';

CREATE FUNCTION meeta.store(
    batch meeta.incoming[], OUT stored bigint, OUT fresh_capture_ids uuid[], OUT fresh_seqs bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    fresh_types text[];
BEGIN
    WITH fresh AS (
        INSERT INTO meeta.events AS event (
            capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial, inferred,
            payload, salt, commitment, digest, quarantine_reason)
        -- As meeta.moment does it, without numeric, which would cost as much as all the rest of a row.
        SELECT capture_id, seq, type, origin, room, endpoint_id,
            timestamptz 'epoch' + (occurred_at / 1000)::double precision * interval '1 second'
                + (occurred_at % 1000)::double precision * interval '1 millisecond',
            monotonic_ms,
            timestamptz 'epoch' + (server_at / 1000)::double precision * interval '1 second'
                + (server_at % 1000)::double precision * interval '1 millisecond',
            initial, inferred, payload, salt, commitment, digest, quarantine_reason
        FROM unnest(batch)
        ON CONFLICT (capture_id, seq) DO NOTHING
        RETURNING event.capture_id, event.seq, event.type
    )
    SELECT array_agg(capture_id), array_agg(seq), array_agg(type)
    INTO fresh_capture_ids, fresh_seqs, fresh_types
    FROM fresh;

    stored := coalesce(cardinality(fresh_seqs), 0);
    IF stored > 0 THEN
        PERFORM meeta.project(fresh_capture_ids, fresh_seqs, fresh_types);
    END IF;
    IF stored = cardinality(batch) THEN
        fresh_capture_ids := NULL;
        fresh_seqs := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION meeta.store(meeta.incoming[]) IS
    'Inserts the events that are new and projects them. Tells how many that were, and which, unless all were.';

-- --- projections ----------------------------------------------------------------------------------------------------

-- Who was moderator first, without reading all visits of a capture.
CREATE INDEX visits_by_moderator ON meeta.visits (capture_id, moderator_seq) WHERE moderator_seq IS NOT NULL;

DROP FUNCTION meeta.project_heads(uuid[], bigint[]);

CREATE FUNCTION meeta.project_heads(capture_ids uuid[], seqs bigint[], types text[]) RETURNS void
LANGUAGE plpgsql
-- This runs for every batch, and planning it anew would cost more than running it. A plan that is kept must suit tables
-- that were empty when it was made: the one by primary key, a row at a time.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    -- A heartbeat changes nothing else, and there are many: it is no reason to recompute all facts of its capture.
    INSERT INTO meeta.captures AS known
        (capture_id, last_seq, last_at, last_monotonic_ms, head_digest, event_count, heartbeat_at)
    SELECT last.capture_id, last.seq, last.occurred_at, last.monotonic_ms, last.digest, fresh.event_count,
        CASE WHEN fresh.lives THEN (
            SELECT alive.occurred_at FROM meeta.events AS alive
            WHERE alive.capture_id = fresh.capture_id AND alive.type = 'capture.heartbeat'
            ORDER BY alive.seq DESC LIMIT 1) END
    FROM (SELECT capture_id, max(seq) AS seq, count(*) AS event_count, bool_or(type = 'capture.heartbeat') AS lives
          FROM unnest(capture_ids, seqs, types) AS row (capture_id, seq, type) GROUP BY capture_id) AS fresh
    JOIN meeta.events AS last ON last.capture_id = fresh.capture_id AND last.seq = fresh.seq
    ORDER BY last.capture_id
    ON CONFLICT (capture_id) DO UPDATE SET
        event_count = known.event_count + excluded.event_count,
        last_seq = greatest(known.last_seq, excluded.last_seq),
        last_at = CASE WHEN excluded.last_seq > known.last_seq THEN excluded.last_at ELSE known.last_at END,
        last_monotonic_ms = CASE WHEN excluded.last_seq > known.last_seq
            THEN excluded.last_monotonic_ms ELSE known.last_monotonic_ms END,
        head_digest = CASE WHEN excluded.last_seq > known.last_seq
            THEN excluded.head_digest ELSE known.head_digest END,
        heartbeat_at = coalesce(excluded.heartbeat_at, known.heartbeat_at);
END
$$;
COMMENT ON FUNCTION meeta.project_heads(uuid[], bigint[], text[]) IS
    'Counts new events, moves the heads of their captures and notes their last signs of life.';

CREATE FUNCTION meeta.project_hosts(touched uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
        UPDATE meeta.captures AS capture SET host_endpoint_id = host.endpoint_id, host_name = host.display_name
        FROM (SELECT DISTINCT capture_id FROM unnest(touched) AS capture_id) AS wanted
        LEFT JOIN LATERAL (SELECT visit.endpoint_id, visit.display_name FROM meeta.visits AS visit
            WHERE visit.capture_id = wanted.capture_id AND visit.kind = 'human' AND visit.moderator_seq IS NOT NULL
            ORDER BY visit.moderator_seq LIMIT 1) AS host ON true
        WHERE capture.capture_id = wanted.capture_id
            AND (capture.host_endpoint_id IS DISTINCT FROM host.endpoint_id
                OR capture.host_name IS DISTINCT FROM host.display_name)
        RETURNING capture.meeting_id;
END
$$;
COMMENT ON FUNCTION meeta.project_hosts(uuid[]) IS
    'Finds the hosts of captures in their visits anew; returns the meetings of those that have another now, or null.';

CREATE OR REPLACE FUNCTION meeta.project(capture_ids uuid[], seqs bigint[], types text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moved_captures uuid[];
    moved_seqs bigint[];
    gap_captures uuid[];
    gap_seqs bigint[];
    changed_captures uuid[];
    changed_meetings uuid[];
BEGIN
    SELECT array_agg(capture_id) FILTER (WHERE moves), array_agg(seq) FILTER (WHERE moves),
        array_agg(capture_id) FILTER (WHERE type = 'capture.gap'), array_agg(seq) FILTER (WHERE type = 'capture.gap'),
        array_agg(DISTINCT capture_id) FILTER (WHERE type IN (
            'capture.started', 'capture.hook_installed', 'capture.ended', 'conference.joined',
            'conference.subject_changed', 'meeting.identified', 'meeting.started', 'meeting.ended'))
    INTO moved_captures, moved_seqs, gap_captures, gap_seqs, changed_captures
    FROM (SELECT capture_id, seq, type, type IN ('participant.joined', 'participant.left', 'participant.renamed',
              'participant.role_changed') AS moves
          FROM unnest(capture_ids, seqs, types) AS row (capture_id, seq, type)) AS fresh;

    PERFORM meeta.project_heads(capture_ids, seqs, types);
    IF gap_captures IS NOT NULL THEN
        PERFORM meeta.project_gaps(gap_captures, gap_seqs);
    END IF;
    IF moved_captures IS NOT NULL THEN
        PERFORM meeta.project_visits(moved_captures, moved_seqs);
        SELECT array_agg(meeting) FILTER (WHERE meeting IS NOT NULL) INTO changed_meetings
        FROM meeta.project_hosts(moved_captures) AS meeting;
    END IF;
    IF changed_captures IS NOT NULL THEN
        changed_meetings := changed_meetings || ARRAY(SELECT meeta.project_facts(changed_captures));
    END IF;
    IF changed_meetings <> '{}' THEN
        PERFORM meeta.project_meetings(changed_meetings);
    END IF;
END
$$;
