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
-- that were empty when it was made: a row at a time, and asked for in the order of the primary key, which no other
-- index has. (All indexes of an empty month cost the same, and others would lead through a whole capture.)
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
    CROSS JOIN LATERAL (SELECT * FROM meeta.events AS event
        WHERE event.capture_id = fresh.capture_id AND event.seq >= fresh.seq ORDER BY event.seq LIMIT 1) AS last
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

-- The open visits of an endpoint. Holding what `left_seq IS NULL` would have to test, it is the cheapest way to them
-- whatever is known of the table: a plan made while that was empty can be kept.
CREATE INDEX visits_open ON meeta.visits (capture_id, endpoint_id) WHERE left_seq IS NULL;

CREATE FUNCTION meeta.advance_visits(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE plpgsql
-- As meeta.project_heads: planning would cost more than running, and every look-up here has one index that fits.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    -- As meeta.visits_of, but an open visit stands for all that was told before: it is read as one arrival.
    WITH fresh AS MATERIALIZED (
        SELECT event.*
        FROM unnest(capture_ids, seqs) AS new (capture_id, seq)
        CROSS JOIN LATERAL (SELECT * FROM meeta.events AS one
            WHERE one.capture_id = new.capture_id AND one.seq >= new.seq ORDER BY one.seq LIMIT 1) AS event
    ), told AS (
        SELECT capture_id, room, endpoint_id, seq, type = 'participant.joined' AS arrives,
            type = 'participant.left' AS leaves, occurred_at, monotonic_ms, initial, inferred,
            type IN ('participant.joined', 'participant.renamed') AND payload IS NOT NULL AS names,
            CASE type WHEN 'participant.joined' THEN payload->>'display_name' ELSE payload->>'new_name' END
                AS display_name,
            type IN ('participant.joined', 'participant.role_changed') AND payload IS NOT NULL AS ranks,
            payload->>'role' AS role,
            CASE WHEN type IN ('participant.joined', 'participant.role_changed') AND payload->>'role' = 'moderator'
                THEN seq END AS moderator_seq,
            payload->>'kind' AS kind, payload->>'stats_id' AS stats_id, payload->>'user_id' AS user_id,
            payload->>'cause' AS cause, payload->>'reason' AS reason
        FROM fresh
        WHERE endpoint_id IS NOT NULL
        UNION ALL
        SELECT open.capture_id, open.room, open.endpoint_id, open.joined_seq, true, false, open.joined_at,
            open.joined_monotonic_ms, open.initial, open.inferred, true, open.display_name, true, open.role,
            open.moderator_seq, open.kind, open.stats_id, open.user_id, NULL, NULL
        FROM (SELECT DISTINCT capture_id, endpoint_id FROM fresh WHERE endpoint_id IS NOT NULL) AS touched
        CROSS JOIN LATERAL (SELECT * FROM meeta.visits AS visit
            WHERE visit.capture_id = touched.capture_id AND visit.endpoint_id = touched.endpoint_id
                AND visit.left_seq IS NULL
            OFFSET 0) AS open  -- looked up for each; never joined with all that are open
    ), placed AS (
        SELECT told.*,
            coalesce(max(seq) FILTER (WHERE arrives) OVER before
                > coalesce(max(seq) FILTER (WHERE leaves) OVER before, -9223372036854775808), false) AS is_there
        FROM told
        WINDOW before AS (PARTITION BY capture_id, room, endpoint_id ORDER BY seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), numbered AS (
        SELECT placed.*, arrives OR NOT is_there AS opens,
            count(*) FILTER (WHERE arrives OR NOT is_there)
                OVER (PARTITION BY capture_id, room, endpoint_id ORDER BY seq) AS number
        FROM placed
        WHERE arrives OR leaves OR is_there
    ), visit AS (
        SELECT capture_id, room, endpoint_id, number,
            bool_or(arrives) AS has_arrival,
            min(seq) AS opened_seq,
            (array_agg(occurred_at) FILTER (WHERE opens))[1] AS opened_at,
            (array_agg(monotonic_ms) FILTER (WHERE opens))[1] AS opened_monotonic_ms,
            bool_or(initial) FILTER (WHERE opens) AS initial,
            bool_or(inferred) FILTER (WHERE opens OR leaves) AS inferred,
            (array_agg(display_name ORDER BY seq DESC) FILTER (WHERE names))[1] AS display_name,
            min(kind) FILTER (WHERE arrives) AS kind,
            (array_agg(role ORDER BY seq DESC) FILTER (WHERE ranks))[1] AS role,
            min(moderator_seq) AS moderator_seq,
            min(stats_id) FILTER (WHERE arrives) AS stats_id,
            min(user_id) FILTER (WHERE arrives) AS user_id,
            max(seq) FILTER (WHERE leaves) AS left_seq,
            (array_agg(occurred_at) FILTER (WHERE leaves))[1] AS left_at,
            (array_agg(monotonic_ms) FILTER (WHERE leaves))[1] AS left_monotonic_ms,
            min(cause) FILTER (WHERE leaves) AS left_cause,
            min(reason) FILTER (WHERE leaves) AS left_reason
        FROM numbered
        GROUP BY capture_id, room, endpoint_id, number
    ), closed AS (
        SELECT visit.*, left_seq IS NULL AND lead(opened_seq) OVER next IS NOT NULL AS is_unseen,
            coalesce(left_seq, lead(opened_seq) OVER next) AS closed_seq,
            CASE WHEN left_seq IS NULL THEN lead(opened_at) OVER next ELSE left_at END AS closed_at,
            CASE WHEN left_seq IS NULL THEN lead(opened_monotonic_ms) OVER next ELSE left_monotonic_ms END
                AS closed_monotonic_ms
        FROM visit
        WINDOW next AS (PARTITION BY capture_id, room, endpoint_id ORDER BY number)
    )
    INSERT INTO meeta.visits AS known
    SELECT capture_id, opened_seq, room, endpoint_id,
        CASE WHEN has_arrival THEN opened_at END, CASE WHEN has_arrival THEN opened_monotonic_ms END,
        initial, inferred, display_name, kind, role, moderator_seq, stats_id, user_id,
        closed_seq, closed_at, closed_monotonic_ms,
        CASE WHEN is_unseen THEN 'unseen' ELSE left_cause END, left_reason,
        CASE WHEN has_arrival THEN meeta.elapsed_ms(opened_monotonic_ms, closed_monotonic_ms) END
    FROM closed
    ON CONFLICT (capture_id, joined_seq) DO UPDATE SET
        inferred = excluded.inferred, display_name = excluded.display_name, role = excluded.role,
        moderator_seq = excluded.moderator_seq, left_seq = excluded.left_seq, left_at = excluded.left_at,
        left_monotonic_ms = excluded.left_monotonic_ms, left_cause = excluded.left_cause,
        left_reason = excluded.left_reason, duration_ms = excluded.duration_ms;
END
$$;
COMMENT ON FUNCTION meeta.advance_visits(uuid[], bigint[]) IS
    'Brings visits up to date with events that come after all others of their captures; as meeta.project_visits '
    'would, without reading what was before.';

CREATE OR REPLACE FUNCTION meeta.project(capture_ids uuid[], seqs bigint[], types text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moved_captures uuid[];
    moved_seqs bigint[];
    gap_captures uuid[];
    gap_seqs bigint[];
    changed_captures uuid[];
    changed_meetings uuid[];
    next_captures uuid[];
    next_seqs bigint[];
    other_captures uuid[];
    other_seqs bigint[];
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
        -- A capture that has all its numbers so far, and the newest of them without a break from here: nothing else of
        -- it lies behind the first of these events. Its row is locked by now, so that this stays true.
        SELECT array_agg(moved.capture_id) FILTER (WHERE is_next), array_agg(moved.seq) FILTER (WHERE is_next),
            array_agg(moved.capture_id) FILTER (WHERE NOT is_next), array_agg(moved.seq) FILTER (WHERE NOT is_next)
        INTO next_captures, next_seqs, other_captures, other_seqs
        FROM (SELECT fresh.capture_id, capture.event_count = capture.last_seq AND fresh.last = capture.last_seq
                  AND fresh.first = fresh.last - fresh.event_count + 1 AS is_next
              FROM (SELECT capture_id, min(seq) AS first, max(seq) AS last, count(*) AS event_count
                    FROM unnest(capture_ids, seqs) AS row (capture_id, seq) GROUP BY capture_id) AS fresh
              JOIN meeta.captures AS capture ON capture.capture_id = fresh.capture_id) AS touched
        JOIN unnest(moved_captures, moved_seqs) AS moved (capture_id, seq) ON moved.capture_id = touched.capture_id;
        IF next_captures IS NOT NULL THEN
            PERFORM meeta.advance_visits(next_captures, next_seqs);
        END IF;
        IF other_captures IS NOT NULL THEN
            PERFORM meeta.project_visits(other_captures, other_seqs);
        END IF;
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
