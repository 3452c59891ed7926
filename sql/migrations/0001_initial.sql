-- The first schema of meeta_bot.
--
-- meeta.events is the truth. captures, meetings, visits and gaps are derived from it by meeta.project and can be
-- rebuilt at any time with the same result. Nothing here calls now(), draws from a sequence or depends on how
-- events were cut into batches; odd values become null or are clamped, they never raise.

-- --- values -------------------------------------------------------------------------------------------------------

CREATE FUNCTION meeta.moment(milliseconds numeric) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- Multiplying whole seconds keeps the result exact; a fraction would go through floating point.
    SELECT CASE WHEN milliseconds BETWEEN -62135596800000 AND 253402300799999 THEN
        timestamptz 'epoch'
        + (div(trunc(milliseconds), 1000))::double precision * interval '1 second'
        + (mod(trunc(milliseconds), 1000))::double precision * interval '1 millisecond'
    END
$$;
COMMENT ON FUNCTION meeta.moment(numeric) IS
    'The moment so many milliseconds after 1970 in UTC; null outside the years 1 to 9999, which readers can''t show.';

CREATE FUNCTION meeta.moment(milliseconds jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(milliseconds) WHEN 'number' THEN meeta.moment(milliseconds::numeric) END
$$;
COMMENT ON FUNCTION meeta.moment(jsonb) IS 'The same of a JSON number; null of anything else.';

CREATE FUNCTION meeta.whole(value numeric) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- A quarter of bigint's range, so that sums and differences of two results can't overflow.
    SELECT trunc(least(greatest(value, -2305843009213693952), 2305843009213693952))::bigint
$$;
COMMENT ON FUNCTION meeta.whole(numeric) IS 'A whole number within -2^61 to 2^61.';

CREATE FUNCTION meeta.whole(value jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(value) WHEN 'number' THEN meeta.whole(value::numeric) END
$$;
COMMENT ON FUNCTION meeta.whole(jsonb) IS 'The same of a JSON number; null of anything else.';

CREATE FUNCTION meeta.elapsed_ms(from_ms bigint, to_ms bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT meeta.whole(greatest(to_ms::numeric - from_ms::numeric, 0))
    WHERE from_ms IS NOT NULL AND to_ms IS NOT NULL
$$;
COMMENT ON FUNCTION meeta.elapsed_ms(bigint, bigint) IS
    'Milliseconds between two readings of a monotonic clock; never negative, null when one is unknown.';

CREATE FUNCTION meeta.uuid_or_null(value text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END
$$;
COMMENT ON FUNCTION meeta.uuid_or_null(text) IS 'The UUID written in a text; null when it is none.';

-- --- events -------------------------------------------------------------------------------------------------------

CREATE TABLE meeta.events (
    capture_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    origin text NOT NULL,
    room text NOT NULL,
    endpoint_id text,
    occurred_at timestamptz NOT NULL,
    monotonic_ms bigint NOT NULL,
    server_at timestamptz,
    initial boolean NOT NULL,
    inferred boolean NOT NULL,
    payload jsonb,
    salt bytea,
    commitment bytea NOT NULL,
    digest bytea NOT NULL,
    quarantine_reason text,
    PRIMARY KEY (capture_id, seq)
) PARTITION BY RANGE (capture_id);

-- By type: the projections' look-ups, `events --type`, counts by an index-only scan.
CREATE INDEX events_by_type ON meeta.events (capture_id, type, seq);
-- By endpoint: recomputing one endpoint's visits touches its few arrivals, not its thousands of statistics.
CREATE INDEX events_by_endpoint ON meeta.events (capture_id, endpoint_id, type, seq) WHERE endpoint_id IS NOT NULL;

COMMENT ON TABLE meeta.events IS
    'Everything that was seen, once and in order; the truth that all other tables are derived from. Partitioned by '
    'the month in which a capture began (the time in its UUIDv7); give capture_id when you query, or every '
    'partition is read.';
COMMENT ON COLUMN meeta.events.capture_id IS 'Which capture saw it; a UUIDv7.';
COMMENT ON COLUMN meeta.events.seq IS 'Number within the capture: 1, 2, 3 … without holes. Order by this.';
COMMENT ON COLUMN meeta.events.type IS 'Stable name from the catalog, such as participant.joined.';
COMMENT ON COLUMN meeta.events.origin IS 'The lib-jitsi-meet event or presence element it came from.';
COMMENT ON COLUMN meeta.events.room IS 'main, or the id of a breakout room.';
COMMENT ON COLUMN meeta.events.endpoint_id IS 'Whom it is about; null when it is about the room or the capture.';
COMMENT ON COLUMN meeta.events.occurred_at IS 'Wall clock where it was seen, in whole milliseconds. May jump.';
COMMENT ON COLUMN meeta.events.monotonic_ms IS 'Milliseconds since the capture began, by a clock that never jumps.';
COMMENT ON COLUMN meeta.events.server_at IS 'When the server or the sender stamped it; null when nobody did.';
COMMENT ON COLUMN meeta.events.initial IS 'It was so when the capture came; when it happened is unknown.';
COMMENT ON COLUMN meeta.events.inferred IS 'Found by comparison after a gap, not seen happening.';
COMMENT ON COLUMN meeta.events.payload IS 'What happened, in the shape of its type; null when erased or in quarantine.';
COMMENT ON COLUMN meeta.events.salt IS 'Random bytes in the commitment; null once the payload was erased.';
COMMENT ON COLUMN meeta.events.commitment IS 'SHA-256 of salt and canonical payload; outlives both.';
COMMENT ON COLUMN meeta.events.digest IS 'SHA-256 of the digest before, the envelope and the commitment: the chain.';
COMMENT ON COLUMN meeta.events.quarantine_reason IS
    'Why PostgreSQL refused the payload or an envelope value, which then waits in meeta.quarantine; null otherwise.';

CREATE FUNCTION meeta.first_capture_id(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT rpad(lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;
COMMENT ON FUNCTION meeta.first_capture_id(timestamptz) IS 'The smallest UUIDv7 of a moment: a bound of partitions.';

CREATE FUNCTION meeta.began_at(capture_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT meeta.moment((('x' || left(replace(capture_id::text, '-', ''), 12))::bit(48)::bigint)::numeric)
$$;
COMMENT ON FUNCTION meeta.began_at(uuid) IS 'The time in a UUIDv7; null when it lies after the year 9999.';

CREATE FUNCTION meeta.ensure_partition(month timestamptz) RETURNS boolean
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
            EXECUTE format('CREATE TABLE meeta.%I (LIKE meeta.events INCLUDING ALL)', partition);
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

CREATE FUNCTION meeta.ensure_partitions("from" timestamptz, months integer) RETURNS integer
LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE meeta.ensure_partition(date_trunc('month', "from", 'UTC') + make_interval(months => ahead)))::integer
    FROM generate_series(0, months - 1) AS ahead
$$;
COMMENT ON FUNCTION meeta.ensure_partitions(timestamptz, integer) IS
    'Creates the partitions of so many months, beginning with the one that `from` lies in; the number that stand.';

CREATE FUNCTION meeta.ensure_partition_of(capture_id uuid) RETURNS boolean
LANGUAGE sql AS $$
    -- The bounds keep a broken clock from littering the schema. This is no projection, so now() is in place.
    SELECT CASE WHEN meeta.began_at(capture_id) >= timestamptz '2020-01-01 00:00:00+00'
                 AND meeta.began_at(capture_id) < now() + interval '24 months'
           THEN meeta.ensure_partition(meeta.began_at(capture_id)) ELSE false END
$$;
COMMENT ON FUNCTION meeta.ensure_partition_of(uuid) IS
    'Makes sure that events of a capture have a partition. False when its id is no UUIDv7 between 2020 and two years '
    'from now, or its month has been taken out.';

-- --- what could not be stored as it came ------------------------------------------------------------------------------

CREATE TABLE meeta.quarantine (
    capture_id text NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('refused', 'conflict')),
    digest bytea NOT NULL,
    reason text NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (capture_id, seq, kind, digest)
);
COMMENT ON TABLE meeta.quarantine IS
    'Events that could not be stored as they came. Nothing is lost and nothing waits behind them: the bytes are here.';
COMMENT ON COLUMN meeta.quarantine.capture_id IS 'As it came; text, because it may be no UUID.';
COMMENT ON COLUMN meeta.quarantine.seq IS 'Number within the capture.';
COMMENT ON COLUMN meeta.quarantine.kind IS
    'refused: PostgreSQL refused the row; meeta.events has a placeholder if it could. conflict: meeta.events has a '
    'different event under the same number.';
COMMENT ON COLUMN meeta.quarantine.digest IS 'Digest of the event that is here.';
COMMENT ON COLUMN meeta.quarantine.reason IS 'One line: what PostgreSQL said, or which digest was there first.';
COMMENT ON COLUMN meeta.quarantine.sealed IS 'The whole sealed event as the spool had it, a JSON array. Erase it too.';

-- --- derived tables -----------------------------------------------------------------------------------------------------

CREATE TABLE meeta.captures (
    capture_id uuid PRIMARY KEY,
    deployment text,
    room text,
    room_url text,
    bot_name text,
    program_version text,
    library_version text,
    started_at timestamptz,
    joined_at timestamptz,
    endpoint_id text,
    ended_at timestamptz,
    end_reason text,
    end_detail text,
    meeting_id uuid,
    meeting_basis text,
    server_meeting_id text,
    meeting_created_at timestamptz,
    meeting_started_at timestamptz,
    meeting_ended_at timestamptz,
    meeting_end_reason text,
    subject text,
    host_endpoint_id text,
    host_name text,
    heartbeat_at timestamptz,
    last_seq bigint NOT NULL,
    last_at timestamptz NOT NULL,
    last_monotonic_ms bigint NOT NULL,
    head_digest bytea NOT NULL,
    event_count bigint NOT NULL
);
CREATE INDEX captures_by_meeting ON meeta.captures (meeting_id);
CREATE INDEX captures_by_room ON meeta.captures (lower(left(room, 100)));

COMMENT ON TABLE meeta.captures IS 'One bot in one room from start to end reason. Derived from meeta.events.';
COMMENT ON COLUMN meeta.captures.capture_id IS 'UUIDv7: its first 48 bits say when the capture began.';
COMMENT ON COLUMN meeta.captures.deployment IS 'The Jitsi deployment, such as https://meet.example.org.';
COMMENT ON COLUMN meeta.captures.room IS 'Name of the room.';
COMMENT ON COLUMN meeta.captures.room_url IS 'Address that was opened, without tokens.';
COMMENT ON COLUMN meeta.captures.bot_name IS 'Name that the others saw.';
COMMENT ON COLUMN meeta.captures.program_version IS 'Version of meeta_bot.';
COMMENT ON COLUMN meeta.captures.library_version IS 'Version of lib-jitsi-meet, of the last page load.';
COMMENT ON COLUMN meeta.captures.started_at IS 'When the recorder began; nothing had been seen yet.';
COMMENT ON COLUMN meeta.captures.joined_at IS 'When the bot first got into the room; null if it never did.';
COMMENT ON COLUMN meeta.captures.endpoint_id IS 'The bot''s own endpoint, the last it had.';
COMMENT ON COLUMN meeta.captures.ended_at IS 'When the capture ended; null while it runs or is lost.';
COMMENT ON COLUMN meeta.captures.end_reason IS 'The one reason why it ended, from the list of end reasons.';
COMMENT ON COLUMN meeta.captures.end_detail IS 'More about the end, for people.';
COMMENT ON COLUMN meeta.captures.meeting_id IS 'The meeting it belongs to; null while that is unknown.';
COMMENT ON COLUMN meeta.captures.meeting_basis IS 'server_id, created_timestamp, schedule or capture.';
COMMENT ON COLUMN meeta.captures.server_meeting_id IS 'The server''s own id of the meeting.';
COMMENT ON COLUMN meeta.captures.meeting_created_at IS 'When the server created the conference.';
COMMENT ON COLUMN meeta.captures.meeting_started_at IS 'When the first human was there, as this capture knows it.';
COMMENT ON COLUMN meeta.captures.meeting_ended_at IS 'When the last human had gone; null again if one came back.';
COMMENT ON COLUMN meeta.captures.meeting_end_reason IS 'Why the meeting ended.';
COMMENT ON COLUMN meeta.captures.subject IS 'The room''s subject, the last one.';
COMMENT ON COLUMN meeta.captures.host_endpoint_id IS 'The first human who was seen as moderator.';
COMMENT ON COLUMN meeta.captures.host_name IS 'That one''s latest display name during that visit.';
COMMENT ON COLUMN meeta.captures.heartbeat_at IS 'Last sign of life of the recorder.';
COMMENT ON COLUMN meeta.captures.last_seq IS 'Number of the last event stored.';
COMMENT ON COLUMN meeta.captures.last_at IS 'Wall clock of the last event stored.';
COMMENT ON COLUMN meeta.captures.last_monotonic_ms IS 'Monotonic clock of the last event stored.';
COMMENT ON COLUMN meeta.captures.head_digest IS 'Digest of the last event stored: the head of the chain.';
COMMENT ON COLUMN meeta.captures.event_count IS 'Events stored; equals last_seq when there is no hole.';

CREATE TABLE meeta.meetings (
    meeting_id uuid PRIMARY KEY,
    deployment text,
    room text,
    server_meeting_id text,
    created_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    end_reason text,
    subject text,
    host_endpoint_id text,
    host_name text,
    captured_at timestamptz,
    capture_count bigint NOT NULL
);
CREATE INDEX meetings_by_room ON meeta.meetings (lower(left(room, 100)));

COMMENT ON TABLE meeta.meetings IS
    'One conference session in a room, from all captures that name it. Derived from meeta.captures.';
COMMENT ON COLUMN meeta.meetings.meeting_id IS 'UUIDv5 of deployment, room and what identifies the session.';
COMMENT ON COLUMN meeta.meetings.deployment IS 'The Jitsi deployment.';
COMMENT ON COLUMN meeta.meetings.room IS 'Name of the room.';
COMMENT ON COLUMN meeta.meetings.server_meeting_id IS 'The server''s own id of the meeting.';
COMMENT ON COLUMN meeta.meetings.created_at IS 'When the server created the conference, the earliest that is known.';
COMMENT ON COLUMN meeta.meetings.started_at IS 'When the first human was there, the earliest that is known.';
COMMENT ON COLUMN meeta.meetings.ended_at IS 'When the last human had gone, the latest that is known; null while none is.';
COMMENT ON COLUMN meeta.meetings.end_reason IS 'Why the meeting ended, of the capture that knows the latest end.';
COMMENT ON COLUMN meeta.meetings.subject IS 'The subject that the capture which began last knows.';
COMMENT ON COLUMN meeta.meetings.host_endpoint_id IS 'First human moderator that the earliest capture knows.';
COMMENT ON COLUMN meeta.meetings.host_name IS 'That one''s display name.';
COMMENT ON COLUMN meeta.meetings.captured_at IS 'When the first capture of it began.';
COMMENT ON COLUMN meeta.meetings.capture_count IS 'How many captures name it.';

CREATE TABLE meeta.visits (
    capture_id uuid NOT NULL,
    joined_seq bigint NOT NULL,
    room text NOT NULL,
    endpoint_id text NOT NULL,
    joined_at timestamptz,
    joined_monotonic_ms bigint,
    initial boolean NOT NULL,
    inferred boolean NOT NULL,
    display_name text,
    kind text,
    role text,
    moderator_seq bigint,
    stats_id text,
    user_id text,
    left_seq bigint,
    left_at timestamptz,
    left_monotonic_ms bigint,
    left_cause text,
    left_reason text,
    duration_ms bigint,
    PRIMARY KEY (capture_id, joined_seq)
);
CREATE INDEX visits_by_endpoint ON meeta.visits (capture_id, endpoint_id);

COMMENT ON TABLE meeta.visits IS
    'One participant from join to leave, as one capture saw it. Derived from meeta.events. meeta.visit_times closes '
    'those that are open.';
COMMENT ON COLUMN meeta.visits.capture_id IS 'Which capture saw it.';
COMMENT ON COLUMN meeta.visits.joined_seq IS
    'Number of the participant.joined; of the participant.left when the arrival was never seen.';
COMMENT ON COLUMN meeta.visits.room IS 'main, or the id of a breakout room.';
COMMENT ON COLUMN meeta.visits.endpoint_id IS 'The participant''s endpoint.';
COMMENT ON COLUMN meeta.visits.joined_at IS 'Wall clock of the arrival; null when it was never seen.';
COMMENT ON COLUMN meeta.visits.joined_monotonic_ms IS 'Monotonic clock of the arrival.';
COMMENT ON COLUMN meeta.visits.initial IS 'Was there when the capture came: the arrival was earlier than joined_at.';
COMMENT ON COLUMN meeta.visits.inferred IS 'Arrival or departure was found after a gap, not seen.';
COMMENT ON COLUMN meeta.visits.display_name IS 'The latest during the visit.';
COMMENT ON COLUMN meeta.visits.kind IS 'human, phone, recorder, transcriber, bot or hidden; null when erased.';
COMMENT ON COLUMN meeta.visits.role IS 'The latest during the visit.';
COMMENT ON COLUMN meeta.visits.moderator_seq IS 'Number of the event that first showed a moderator.';
COMMENT ON COLUMN meeta.visits.stats_id IS 'Jitsi''s id of the browser.';
COMMENT ON COLUMN meeta.visits.user_id IS 'Who it is by the token.';
COMMENT ON COLUMN meeta.visits.left_seq IS 'Number of the event that closed it; null while open.';
COMMENT ON COLUMN meeta.visits.left_at IS 'Wall clock of the departure.';
COMMENT ON COLUMN meeta.visits.left_monotonic_ms IS 'Monotonic clock of the departure.';
COMMENT ON COLUMN meeta.visits.left_cause IS
    'left, kicked or replaced; unseen when the same endpoint arrived again before it was seen to leave.';
COMMENT ON COLUMN meeta.visits.left_reason IS 'What the server or the participant said.';
COMMENT ON COLUMN meeta.visits.duration_ms IS 'From arrival to departure by the monotonic clock; null while one is unknown.';

CREATE TABLE meeta.gaps (
    capture_id uuid NOT NULL,
    seq bigint NOT NULL,
    cause text,
    lost text,
    from_at timestamptz,
    to_at timestamptz,
    evidence text,
    missed bigint,
    PRIMARY KEY (capture_id, seq)
);
COMMENT ON TABLE meeta.gaps IS 'Intervals in which a capture could not see, or saw only part. Derived from meeta.events.';
COMMENT ON COLUMN meeta.gaps.capture_id IS 'Which capture was blind.';
COMMENT ON COLUMN meeta.gaps.seq IS 'Number of the capture.gap event.';
COMMENT ON COLUMN meeta.gaps.cause IS 'Why, from the list of gap causes.';
COMMENT ON COLUMN meeta.gaps.lost IS 'everything, bridge_only or nothing.';
COMMENT ON COLUMN meeta.gaps.from_at IS 'The last moment that was certainly seen.';
COMMENT ON COLUMN meeta.gaps.to_at IS 'The first moment that was certainly seen again.';
COMMENT ON COLUMN meeta.gaps.evidence IS 'How the bounds are known.';
COMMENT ON COLUMN meeta.gaps.missed IS 'How many messages were lost, when that is known.';

-- --- projections: always recomputed from meeta.events, so that batches and repetition can't matter ---------------------

CREATE FUNCTION meeta.project_heads(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO meeta.captures AS known
        (capture_id, last_seq, last_at, last_monotonic_ms, head_digest, event_count)
    SELECT last.capture_id, last.seq, last.occurred_at, last.monotonic_ms, last.digest, fresh.event_count
    FROM (SELECT capture_id, max(seq) AS seq, count(*) AS event_count
          FROM unnest(capture_ids, seqs) AS row (capture_id, seq) GROUP BY capture_id) AS fresh
    JOIN meeta.events AS last ON last.capture_id = fresh.capture_id AND last.seq = fresh.seq
    ORDER BY last.capture_id
    ON CONFLICT (capture_id) DO UPDATE SET
        event_count = known.event_count + excluded.event_count,
        last_seq = greatest(known.last_seq, excluded.last_seq),
        last_at = CASE WHEN excluded.last_seq > known.last_seq THEN excluded.last_at ELSE known.last_at END,
        last_monotonic_ms = CASE WHEN excluded.last_seq > known.last_seq
            THEN excluded.last_monotonic_ms ELSE known.last_monotonic_ms END,
        head_digest = CASE WHEN excluded.last_seq > known.last_seq
            THEN excluded.head_digest ELSE known.head_digest END
$$;
COMMENT ON FUNCTION meeta.project_heads(uuid[], bigint[]) IS 'Counts new events and moves the heads of their captures.';

CREATE FUNCTION meeta.project_gaps(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO meeta.gaps (capture_id, seq, cause, lost, from_at, to_at, evidence, missed)
    SELECT capture_id, seq, payload->>'cause', payload->>'lost',
        meeta.moment(payload->'from_at'), meeta.moment(payload->'to_at'),
        payload->>'evidence', meeta.whole(payload->'missed')
    FROM unnest(capture_ids, seqs) AS fresh (capture_id, seq)
    JOIN meeta.events USING (capture_id, seq)
    WHERE payload IS NOT NULL
    ON CONFLICT (capture_id, seq) DO NOTHING
$$;
COMMENT ON FUNCTION meeta.project_gaps(uuid[], bigint[]) IS 'Derives the gaps of capture.gap events.';

CREATE FUNCTION meeta.visits_of(capture_ids uuid[], endpoint_ids text[]) RETURNS SETOF meeta.visits
LANGUAGE sql STABLE AS $$
    -- One look into events_by_endpoint, then windows and no joins: the time is linear whatever the planner expects.
    WITH told AS (
        SELECT event.capture_id, event.room, event.endpoint_id, event.seq, event.type, event.occurred_at,
            event.monotonic_ms, event.initial, event.inferred, event.payload,
            event.type IN ('participant.joined', 'participant.renamed') AND event.payload IS NOT NULL AS names,
            CASE event.type WHEN 'participant.joined' THEN event.payload->>'display_name'
                ELSE event.payload->>'new_name' END AS display_name,
            event.type IN ('participant.joined', 'participant.role_changed') AND event.payload IS NOT NULL AS ranks,
            event.payload->>'role' AS role,
            coalesce(
                max(event.seq) FILTER (WHERE event.type = 'participant.joined') OVER before
                > coalesce(max(event.seq) FILTER (WHERE event.type = 'participant.left') OVER before,
                    -9223372036854775808),
                false) AS is_there
        FROM unnest(capture_ids, endpoint_ids) AS wanted (capture_id, endpoint_id)
        JOIN meeta.events AS event ON event.capture_id = wanted.capture_id
            AND event.endpoint_id = wanted.endpoint_id
            AND event.type IN ('participant.joined', 'participant.left', 'participant.renamed',
                'participant.role_changed')
        WINDOW before AS (PARTITION BY event.capture_id, event.room, event.endpoint_id ORDER BY event.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), numbered AS (
        SELECT told.*, opens,
            count(*) FILTER (WHERE opens) OVER (PARTITION BY capture_id, room, endpoint_id ORDER BY seq) AS number
        FROM told
        CROSS JOIN LATERAL (SELECT type = 'participant.joined' OR (type = 'participant.left' AND NOT is_there))
            AS opening (opens)
        WHERE opens OR is_there
    ), visit AS (
        SELECT capture_id, room, endpoint_id, number,
            bool_or(type = 'participant.joined') AS has_arrival,
            min(seq) AS opened_seq,
            (array_agg(occurred_at) FILTER (WHERE opens))[1] AS opened_at,
            (array_agg(monotonic_ms) FILTER (WHERE opens))[1] AS opened_monotonic_ms,
            bool_or(initial) FILTER (WHERE opens) AS initial,
            bool_or(inferred) FILTER (WHERE opens OR type = 'participant.left') AS inferred,
            (array_agg(payload) FILTER (WHERE type = 'participant.joined'))[1] AS arrival,
            (array_agg(display_name ORDER BY seq DESC) FILTER (WHERE names))[1] AS display_name,
            (array_agg(role ORDER BY seq DESC) FILTER (WHERE ranks))[1] AS role,
            min(seq) FILTER (WHERE ranks AND role = 'moderator') AS moderator_seq,
            max(seq) FILTER (WHERE type = 'participant.left') AS left_seq,
            (array_agg(occurred_at) FILTER (WHERE type = 'participant.left'))[1] AS left_at,
            (array_agg(monotonic_ms) FILTER (WHERE type = 'participant.left'))[1] AS left_monotonic_ms,
            (array_agg(payload) FILTER (WHERE type = 'participant.left'))[1] AS departure
        FROM numbered
        GROUP BY capture_id, room, endpoint_id, number
    ), closed AS (
        -- Without a departure, the next arrival of the same endpoint ends a visit.
        SELECT visit.*, left_seq IS NULL AND lead(opened_seq) OVER next IS NOT NULL AS is_unseen,
            coalesce(left_seq, lead(opened_seq) OVER next) AS closed_seq,
            CASE WHEN left_seq IS NULL THEN lead(opened_at) OVER next ELSE left_at END AS closed_at,
            CASE WHEN left_seq IS NULL THEN lead(opened_monotonic_ms) OVER next ELSE left_monotonic_ms END
                AS closed_monotonic_ms
        FROM visit
        WINDOW next AS (PARTITION BY capture_id, room, endpoint_id ORDER BY number)
    )
    SELECT capture_id, opened_seq, room, endpoint_id,
        CASE WHEN has_arrival THEN opened_at END, CASE WHEN has_arrival THEN opened_monotonic_ms END,
        initial, inferred, display_name, arrival->>'kind', role, moderator_seq, arrival->>'stats_id',
        arrival->>'user_id', closed_seq, closed_at, closed_monotonic_ms,
        CASE WHEN is_unseen THEN 'unseen' ELSE departure->>'cause' END, departure->>'reason',
        CASE WHEN has_arrival THEN meeta.elapsed_ms(opened_monotonic_ms, closed_monotonic_ms) END
    FROM closed
$$;
COMMENT ON FUNCTION meeta.visits_of(uuid[], text[]) IS 'The visits of some endpoints, computed from meeta.events.';

CREATE FUNCTION meeta.project_visits(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    touched_captures uuid[];
    touched_endpoints text[];
BEGIN
    SELECT array_agg(touched.capture_id), array_agg(touched.endpoint_id)
    INTO touched_captures, touched_endpoints
    FROM (SELECT DISTINCT event.capture_id, event.endpoint_id
          FROM unnest(capture_ids, seqs) AS fresh (capture_id, seq)
          JOIN meeta.events AS event ON event.capture_id = fresh.capture_id AND event.seq = fresh.seq
          WHERE event.endpoint_id IS NOT NULL) AS touched;
    DELETE FROM meeta.visits
    USING unnest(touched_captures, touched_endpoints) AS touched (capture_id, endpoint_id)
    WHERE visits.capture_id = touched.capture_id AND visits.endpoint_id = touched.endpoint_id;
    INSERT INTO meeta.visits SELECT * FROM meeta.visits_of(touched_captures, touched_endpoints);
END
$$;
COMMENT ON FUNCTION meeta.project_visits(uuid[], bigint[]) IS 'Recomputes the visits of the endpoints that events are about.';

CREATE FUNCTION meeta.project_facts(touched uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    meetings_before uuid[];
BEGIN
    SELECT array_agg(meeting_id) INTO meetings_before
    FROM meeta.captures WHERE capture_id = ANY (touched) AND meeting_id IS NOT NULL;

    UPDATE meeta.captures AS capture SET
        deployment = started.payload->>'deployment',
        room = started.payload->>'room',
        room_url = started.payload->>'room_url',
        bot_name = started.payload->>'bot_name',
        program_version = started.payload->>'program_version',
        library_version = hooked.library_version,
        started_at = started.occurred_at,
        joined_at = arrived.occurred_at,
        endpoint_id = seated.endpoint_id,
        ended_at = ended.occurred_at,
        end_reason = ended.payload->>'reason',
        end_detail = ended.payload->>'detail',
        meeting_id = meeta.uuid_or_null(identified.payload->>'meeting_id'),
        meeting_basis = identified.payload->>'basis',
        server_meeting_id = identified.payload->>'server_meeting_id',
        meeting_created_at = meeta.moment(identified.payload->'created_at'),
        meeting_started_at = coalesce(meeta.moment(begun.payload->'started_at'), begun.occurred_at),
        meeting_ended_at = coalesce(meeta.moment(over.payload->'ended_at'), over.occurred_at),
        meeting_end_reason = over.payload->>'reason',
        subject = named.subject,
        host_endpoint_id = host.endpoint_id,
        host_name = host.display_name,
        heartbeat_at = alive.occurred_at
    FROM unnest(touched) AS wanted (capture_id)
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.started'
        ORDER BY seq LIMIT 1) AS started ON true
    LEFT JOIN LATERAL (SELECT payload->>'library_version' AS library_version FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.hook_installed' AND payload IS NOT NULL
        ORDER BY seq DESC LIMIT 1) AS hooked ON true
    LEFT JOIN LATERAL (SELECT occurred_at FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'conference.joined'
        ORDER BY seq LIMIT 1) AS arrived ON true
    LEFT JOIN LATERAL (SELECT endpoint_id FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'conference.joined'
        ORDER BY seq DESC LIMIT 1) AS seated ON true
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.ended'
        ORDER BY seq DESC LIMIT 1) AS ended ON true
    LEFT JOIN LATERAL (SELECT payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'meeting.identified' AND payload IS NOT NULL
        ORDER BY seq DESC LIMIT 1) AS identified ON true
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'meeting.started'
        ORDER BY meeta.moment(payload->'started_at'), seq LIMIT 1) AS begun ON true
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'meeting.ended'
            AND seq > coalesce((SELECT max(later.seq) FROM meeta.events AS later
                WHERE later.capture_id = wanted.capture_id AND later.type = 'meeting.started'), 0)
        ORDER BY seq DESC LIMIT 1) AS over ON true
    LEFT JOIN LATERAL (SELECT payload->>'subject' AS subject FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'conference.subject_changed' AND payload IS NOT NULL
        ORDER BY seq DESC LIMIT 1) AS named ON true
    LEFT JOIN LATERAL (SELECT occurred_at FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.heartbeat'
        ORDER BY seq DESC LIMIT 1) AS alive ON true
    LEFT JOIN LATERAL (SELECT visit.endpoint_id, visit.display_name FROM meeta.visits AS visit
        WHERE visit.capture_id = wanted.capture_id AND visit.kind = 'human' AND visit.moderator_seq IS NOT NULL
        ORDER BY visit.moderator_seq LIMIT 1) AS host ON true
    WHERE capture.capture_id = wanted.capture_id;

    RETURN QUERY
        SELECT unnest(meetings_before)
        UNION
        SELECT meeting_id FROM meeta.captures WHERE capture_id = ANY (touched) AND meeting_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION meeta.project_facts(uuid[]) IS
    'Recomputes what captures say of themselves; returns the meetings that they named before or name now.';

CREATE FUNCTION meeta.project_meetings(meeting_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one uuid;
BEGIN
    -- Captures of one meeting may be written by several processes at once. Whoever holds the lock sees, in a fresh
    -- snapshot, what the others have committed; sorted, so that two of them can't wait for each other.
    FOR one IN SELECT DISTINCT meeting FROM unnest(meeting_ids) AS meeting ORDER BY meeting LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('meeta.meeting.' || one::text, 0));
    END LOOP;
    DELETE FROM meeta.meetings
    WHERE meeting_id = ANY (meeting_ids)
        AND NOT EXISTS (SELECT FROM meeta.captures WHERE captures.meeting_id = meetings.meeting_id);
    INSERT INTO meeta.meetings AS known
    SELECT meeting_id,
        (array_agg(deployment ORDER BY started_at, capture_id) FILTER (WHERE deployment IS NOT NULL))[1],
        (array_agg(room ORDER BY started_at, capture_id) FILTER (WHERE room IS NOT NULL))[1],
        (array_agg(server_meeting_id ORDER BY started_at, capture_id)
            FILTER (WHERE server_meeting_id IS NOT NULL))[1],
        min(meeting_created_at),
        min(meeting_started_at),
        max(meeting_ended_at),
        (array_agg(meeting_end_reason ORDER BY meeting_ended_at DESC, capture_id)
            FILTER (WHERE meeting_ended_at IS NOT NULL))[1],
        (array_agg(subject ORDER BY started_at DESC, capture_id DESC) FILTER (WHERE subject IS NOT NULL))[1],
        (array_agg(host_endpoint_id ORDER BY started_at, capture_id) FILTER (WHERE host_endpoint_id IS NOT NULL))[1],
        (array_agg(host_name ORDER BY started_at, capture_id) FILTER (WHERE host_endpoint_id IS NOT NULL))[1],
        min(started_at),
        count(*)
    FROM meeta.captures
    WHERE meeting_id = ANY (meeting_ids)
    GROUP BY meeting_id
    ON CONFLICT (meeting_id) DO UPDATE SET
        deployment = excluded.deployment, room = excluded.room, server_meeting_id = excluded.server_meeting_id,
        created_at = excluded.created_at, started_at = excluded.started_at, ended_at = excluded.ended_at,
        end_reason = excluded.end_reason, subject = excluded.subject,
        host_endpoint_id = excluded.host_endpoint_id, host_name = excluded.host_name,
        captured_at = excluded.captured_at, capture_count = excluded.capture_count;
END
$$;
COMMENT ON FUNCTION meeta.project_meetings(uuid[]) IS 'Recomputes meetings from their captures; one without goes.';

CREATE FUNCTION meeta.project(capture_ids uuid[], seqs bigint[], types text[]) RETURNS void
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
        array_agg(DISTINCT capture_id) FILTER (WHERE moves OR type IN (
            'capture.started', 'capture.hook_installed', 'capture.heartbeat', 'capture.ended', 'conference.joined',
            'conference.subject_changed', 'meeting.identified', 'meeting.started', 'meeting.ended'))
    INTO moved_captures, moved_seqs, gap_captures, gap_seqs, changed_captures
    FROM (SELECT capture_id, seq, type, type IN ('participant.joined', 'participant.left', 'participant.renamed',
              'participant.role_changed') AS moves
          FROM unnest(capture_ids, seqs, types) AS row (capture_id, seq, type)) AS fresh;

    PERFORM meeta.project_heads(capture_ids, seqs);
    IF gap_captures IS NOT NULL THEN
        PERFORM meeta.project_gaps(gap_captures, gap_seqs);
    END IF;
    IF moved_captures IS NOT NULL THEN
        PERFORM meeta.project_visits(moved_captures, moved_seqs);
    END IF;
    IF changed_captures IS NOT NULL THEN
        SELECT array_agg(meeting) INTO changed_meetings FROM meeta.project_facts(changed_captures) AS meeting;
        IF changed_meetings IS NOT NULL THEN
            PERFORM meeta.project_meetings(changed_meetings);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION meeta.project(uuid[], bigint[], text[]) IS
    'Brings the derived tables up to date with events that are new: capture_id, seq and type of each, in the '
    'transaction that inserted them. Each event exactly once, or event_count is wrong.';

-- --- for reading ----------------------------------------------------------------------------------------------------

CREATE VIEW meeta.visit_times AS
SELECT visit.capture_id, capture.meeting_id, visit.joined_seq, visit.room, visit.endpoint_id,
    CASE
        WHEN visit.user_id <> '' THEN 'user ' || visit.user_id
        WHEN visit.stats_id <> '' THEN 'browser ' || visit.stats_id || ' ' || coalesce(visit.display_name, '')
        ELSE 'endpoint ' || visit.endpoint_id
    END AS person,
    visit.display_name, visit.kind, visit.role, visit.user_id, visit.stats_id,
    visit.joined_at, visit.initial, visit.inferred, visit.left_at, visit.left_cause, visit.left_reason,
    coalesce(visit.left_at, capture.last_at) AS seen_until,
    meeta.elapsed_ms(coalesce(visit.joined_monotonic_ms, visit.left_monotonic_ms),
        coalesce(visit.left_monotonic_ms, capture.last_monotonic_ms)) AS duration_ms,
    visit.joined_at IS NULL OR visit.initial OR visit.left_seq IS NULL AS duration_is_lower_bound,
    visit.joined_at IS NOT NULL AND NOT visit.initial AS arrival_seen,
    visit.left_seq IS NOT NULL AS departure_seen,
    visit.left_seq IS NULL AND capture.ended_at IS NULL AS present,
    meeta.whole(anchor.ms + coalesce(visit.joined_monotonic_ms, visit.left_monotonic_ms)) AS from_ms,
    greatest(
        meeta.whole(anchor.ms + coalesce(visit.joined_monotonic_ms, visit.left_monotonic_ms)),
        meeta.whole(anchor.ms + coalesce(visit.left_monotonic_ms, capture.last_monotonic_ms))) AS to_ms
FROM meeta.visits AS visit
JOIN meeta.captures AS capture ON capture.capture_id = visit.capture_id
CROSS JOIN LATERAL (
    SELECT coalesce(
        trunc(extract(epoch FROM capture.started_at) * 1000),
        trunc(extract(epoch FROM capture.last_at) * 1000) - capture.last_monotonic_ms) AS ms) AS anchor;
COMMENT ON VIEW meeta.visit_times IS
    'Visits with an end: one that is open counts until its capture last saw anything, and is flagged.';
COMMENT ON COLUMN meeta.visit_times.person IS
    'Who it is, as well as that is known: by user id, else browser and name, else endpoint.';
COMMENT ON COLUMN meeta.visit_times.seen_until IS 'Departure; the last moment of the capture while there is none.';
COMMENT ON COLUMN meeta.visit_times.duration_ms IS 'Milliseconds by the monotonic clock, until seen_until.';
COMMENT ON COLUMN meeta.visit_times.duration_is_lower_bound IS
    'Arrival or departure was not seen, so the visit lasted at least this long.';
COMMENT ON COLUMN meeta.visit_times.arrival_seen IS 'The arrival was seen happening.';
COMMENT ON COLUMN meeta.visit_times.departure_seen IS 'The departure is known.';
COMMENT ON COLUMN meeta.visit_times.present IS 'Still there, as far as this capture, which goes on, knows.';
COMMENT ON COLUMN meeta.visit_times.from_ms IS
    'Beginning on an axis that captures share: wall clock of the capture''s start plus its monotonic clock.';
COMMENT ON COLUMN meeta.visit_times.to_ms IS 'End on that axis.';

CREATE FUNCTION meeta.participants_of(capture_ids uuid[]) RETURNS TABLE (
    person text, display_name text, kind text, user_id text, endpoint_ids text[], first_joined_at timestamptz,
    last_seen_at timestamptz, present boolean, visits bigint, duration_ms bigint, duration_is_lower_bound boolean)
LANGUAGE sql STABLE AS $$
    -- Two witnesses of the same minutes, or one person with two devices, count those minutes once: visits that
    -- overlap are one span, known at both ends if a visit that begins or ends it is.
    WITH visit AS (
        SELECT visit_times.*, count(*) OVER (PARTITION BY person, capture_id) AS seen_by_capture,
            coalesce(from_ms > max(to_ms) OVER (PARTITION BY person ORDER BY from_ms, to_ms, capture_id, joined_seq
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS begins_span
        FROM meeta.visit_times
        WHERE capture_id = ANY (capture_ids)
    ), placed AS (
        SELECT visit.*, count(*) FILTER (WHERE begins_span)
            OVER (PARTITION BY person ORDER BY from_ms, to_ms, capture_id, joined_seq) AS span
        FROM visit
    ), bounded AS (
        SELECT placed.*, min(from_ms) OVER span AS span_from, max(to_ms) OVER span AS span_to
        FROM placed
        WINDOW span AS (PARTITION BY person, span)
    ), judged AS (
        SELECT bounded.*,
            bool_or(arrival_seen AND from_ms = span_from) OVER span AS beginning_seen,
            bool_or(departure_seen AND to_ms = span_to) OVER span AS end_seen
        FROM bounded
        WINDOW span AS (PARTITION BY person, span)
    )
    SELECT person,
        (array_agg(judged.display_name ORDER BY from_ms DESC, capture_id, joined_seq DESC)
            FILTER (WHERE judged.display_name IS NOT NULL))[1],
        (array_agg(judged.kind ORDER BY from_ms DESC, capture_id, joined_seq DESC)
            FILTER (WHERE judged.kind IS NOT NULL))[1],
        max(judged.user_id),
        array_agg(DISTINCT judged.endpoint_id ORDER BY judged.endpoint_id),
        min(judged.joined_at), max(judged.seen_until), bool_or(judged.present), max(seen_by_capture),
        meeta.whole(sum(span_to - span_from) FILTER (WHERE begins_span)),
        NOT bool_and(beginning_seen AND end_seen)
    FROM judged
    GROUP BY person
$$;
COMMENT ON FUNCTION meeta.participants_of(uuid[]) IS
    'The people that some captures of one meeting saw. duration_ms is the time in the room, simultaneous visits '
    'counted once; visits is the number that the capture which saw most of them saw.';

CREATE VIEW meeta.participants AS
SELECT scope.meeting_id, scope.capture_ids, participant.*
FROM (SELECT meeting_id, array_agg(capture_id ORDER BY capture_id) AS capture_ids
      FROM meeta.captures GROUP BY meeting_id, CASE WHEN meeting_id IS NULL THEN capture_id END) AS scope
CROSS JOIN LATERAL meeta.participants_of(scope.capture_ids) AS participant;
COMMENT ON VIEW meeta.participants IS
    'A person in a meeting, all visits together, from all captures of the meeting without counting a minute twice. '
    'Captures that belong to no meeting stand for themselves (meeting_id is null).';
COMMENT ON COLUMN meeta.participants.meeting_id IS 'The meeting; null for a capture that belongs to none.';
COMMENT ON COLUMN meeta.participants.capture_ids IS 'The captures that this comes from.';
COMMENT ON COLUMN meeta.participants.person IS 'By user id, else browser and name, else endpoint.';
COMMENT ON COLUMN meeta.participants.display_name IS 'The latest.';
COMMENT ON COLUMN meeta.participants.kind IS 'human, phone, recorder, transcriber, bot or hidden.';
COMMENT ON COLUMN meeta.participants.user_id IS 'Who it is by the token; null without one.';
COMMENT ON COLUMN meeta.participants.endpoint_ids IS 'All endpoints of that person.';
COMMENT ON COLUMN meeta.participants.first_joined_at IS 'First arrival; null when it was never seen.';
COMMENT ON COLUMN meeta.participants.last_seen_at IS 'Last departure, or the last moment of a capture that saw none.';
COMMENT ON COLUMN meeta.participants.present IS 'Still there, as far as a running capture knows.';
COMMENT ON COLUMN meeta.participants.visits IS 'How often; of the capture that saw most.';
COMMENT ON COLUMN meeta.participants.duration_ms IS 'Time in the room in milliseconds, overlapping visits once.';
COMMENT ON COLUMN meeta.participants.duration_is_lower_bound IS 'An arrival or departure was seen by no capture.';
