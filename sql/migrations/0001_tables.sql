-- The tables of meeta_bot. What is done with them stands in sql/functions and sql/views.
--
-- meeta.events is the truth. captures, meetings, visits and gaps are derived from it by meeta.project and can be
-- rebuilt at any time with the same result.

-- --- events ----------------------------------------------------------------------------------------------------------

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

-- --- what could not be stored as it came -----------------------------------------------------------------------------

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

-- --- derived tables --------------------------------------------------------------------------------------------------

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
-- Who was moderator first, without reading all visits of a capture.
CREATE INDEX visits_by_moderator ON meeta.visits (capture_id, moderator_seq) WHERE moderator_seq IS NOT NULL;
-- The open visits of an endpoint. Holding what `left_seq IS NULL` would have to test, it is the cheapest way to them
-- whatever is known of the table: a plan made while that was empty can be kept.
CREATE INDEX visits_open ON meeta.visits (capture_id, endpoint_id) WHERE left_seq IS NULL;

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
    'left, kicked or replaced; unseen when nobody saw it: not there any more after a gap, or the same endpoint arrived '
    'again.';
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
    from_ms bigint,
    to_ms bigint,
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
COMMENT ON COLUMN meeta.gaps.from_ms IS
    'from_at by the monotonic clock of the capture; negative when it lies before the capture. Null in gaps of older '
    'recorders.';
COMMENT ON COLUMN meeta.gaps.to_ms IS
    'to_at by the monotonic clock of the capture: to_ms - from_ms is how long it was. Null in gaps of older recorders.';
