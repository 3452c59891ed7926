-- What readers ask. Each row is one of the shapes that the reading commands print.

-- name: session
-- Settings of a reader's session.
-- Everything that readers ask for lies along an index, some hundred rows of it. Planners that have no statistics of a
-- month yet, or find it small, would collect and sort all of a capture for every page, or read the whole month.
SET enable_bitmapscan = off;
SET enable_seqscan = off;

-- name: scopes_latest
-- Ids of the meetings, and of captures that belong to none, that were captured last; newest first.
-- A capture's id begins with the time at which it began, so its primary key is read from the end.
-- $1 room or null, $2 limit
SELECT coalesce(meeting_id, capture_id) AS scope_id
FROM meeta.captures AS newest
WHERE ($1::text IS NULL OR (lower(left(room, 100)) = lower(left($1, 100)) AND lower(room) = lower($1)))
    AND NOT EXISTS (
        SELECT FROM meeta.captures AS later
        WHERE later.meeting_id = newest.meeting_id AND later.capture_id > newest.capture_id
            AND ($1 IS NULL OR lower(later.room) = lower($1)))
ORDER BY capture_id DESC
LIMIT $2;

-- name: scope_beside
-- The id of the meeting in the same room that another capture saw while this one, which belongs to none, was refused or
-- waited; the latest of several.
-- $1 capture id
SELECT other.meeting_id AS scope_id
FROM meeta.captures AS lone
JOIN meeta.captures AS other ON lower(left(other.room, 100)) = lower(left(lone.room, 100))
    AND lower(other.room) = lower(lone.room) AND other.deployment = lone.deployment
    AND other.meeting_id IS NOT NULL AND other.joined_at IS NOT NULL
    AND other.started_at <= lone.last_at AND other.last_at >= lone.started_at
WHERE lone.capture_id = $1::uuid AND lone.meeting_id IS NULL AND lone.joined_at IS NULL
ORDER BY other.capture_id DESC
LIMIT 1;

-- name: scopes_by_prefix
-- Ids of meetings, and of captures that belong to none, between two ids.
-- $1 and $2 the smallest and the largest id, $3 limit
SELECT meeting_id AS scope_id
FROM meeta.captures
WHERE meeting_id BETWEEN $1::uuid AND $2::uuid
UNION
SELECT coalesce(meeting_id, capture_id)
FROM meeta.captures
WHERE capture_id BETWEEN $1 AND $2
LIMIT $3;

-- name: meetings
-- Some meetings, and captures that belong to none, in the order in which they were last captured, newest first.
-- $1 ids of meetings, or of captures that belong to none, $2 now, $3 seconds without life that mean lost
WITH wanted AS (
    SELECT captures.* FROM meeta.captures WHERE meeting_id = ANY ($1::uuid[])
    UNION ALL
    SELECT captures.* FROM meeta.captures WHERE capture_id = ANY ($1) AND coalesce(meeting_id <> ALL ($1), true)
), capture AS (
    SELECT capture_id, meeting_id, event_count, coalesce(meeting_id, capture_id) AS scope_id,
        CASE WHEN ended_at IS NOT NULL THEN 'ended'
             WHEN greatest(heartbeat_at, last_at) < $2::timestamptz - make_interval(secs => $3) THEN 'lost'
             ELSE 'recording' END AS state
    FROM wanted
), scope AS (
    SELECT scope_id, meeting_id, array_agg(capture_id ORDER BY capture_id) AS capture_ids,
        sum(event_count)::bigint AS event_count,
        CASE WHEN bool_or(state = 'recording') THEN 'recording'
             WHEN bool_or(state = 'ended') THEN 'ended' ELSE 'lost' END AS state
    FROM capture
    GROUP BY scope_id, meeting_id
), person AS (
    -- Each once, of the kind that meeta.participants_of shows. A call of that hides from the planner how few captures
    -- a meeting has: it would read them all.
    SELECT scope_id, person, (array_agg(kind ORDER BY from_ms DESC, visit.capture_id, joined_seq DESC)
        FILTER (WHERE kind IS NOT NULL))[1] AS kind
    FROM capture
    JOIN meeta.visit_times AS visit ON visit.capture_id = capture.capture_id
    GROUP BY scope_id, person
)
SELECT scope.meeting_id::text, scope.capture_ids::text[], scope.event_count,
    -- A meeting whose end no capture saw went on without them.
    CASE WHEN scope.state = 'ended' AND meeting.started_at IS NOT NULL AND meeting.ended_at IS NULL THEN 'left'
        ELSE scope.state END AS state,
    CASE WHEN meeting.started_at IS NOT NULL AND meeting.ended_at IS NULL THEN last.end_reason END AS left_reason,
    coalesce(meeting.deployment, lone.deployment) AS deployment,
    coalesce(meeting.room, lone.room) AS room,
    meeting.server_meeting_id, meeting.created_at, meeting.started_at, meeting.ended_at,
    CASE WHEN scope.meeting_id IS NULL THEN lone.end_reason ELSE meeting.end_reason END AS end_reason,
    coalesce(meeting.subject, lone.subject) AS subject,
    meeting.host_endpoint_id, meeting.host_name,
    coalesce(meeting.captured_at, lone.started_at, lone.last_at) AS captured_at,
    (SELECT count(*) FROM person WHERE person.scope_id = scope.scope_id AND kind IN ('human', 'phone')) AS people
FROM scope
LEFT JOIN meeta.meetings AS meeting ON meeting.meeting_id = scope.meeting_id
JOIN meeta.captures AS lone ON lone.capture_id = scope.capture_ids[1]
JOIN LATERAL (
    SELECT end_reason FROM meeta.captures AS one WHERE one.capture_id = ANY (scope.capture_ids)
    ORDER BY one.joined_at IS NULL, one.ended_at DESC NULLS LAST, one.capture_id DESC LIMIT 1) AS last ON true
ORDER BY scope.capture_ids[cardinality(scope.capture_ids)] DESC;

-- name: captures
-- Some captures and whether they are recording, ended or lost, in the order in which they began.
-- $1 capture ids, $2 now, $3 seconds without life that mean lost
SELECT capture_id::text, meeting_id::text, deployment, room, room_url, bot_name, program_version, library_version,
    started_at, joined_at, endpoint_id, ended_at, end_reason, end_detail, meeting_basis, server_meeting_id,
    meeting_created_at, meeting_started_at, meeting_ended_at, meeting_end_reason, subject, host_endpoint_id,
    host_name, heartbeat_at, last_at, last_monotonic_ms, last_seq, event_count, head_digest,
    CASE WHEN ended_at IS NOT NULL THEN 'ended'
         WHEN greatest(heartbeat_at, last_at) < $2::timestamptz - make_interval(secs => $3) THEN 'lost'
         ELSE 'recording' END AS state
FROM meeta.captures
WHERE capture_id = ANY ($1::uuid[])
ORDER BY captures.capture_id;

-- name: heads
-- How far captures are stored: some of them, or all for null.
-- $1 capture ids or null
SELECT capture_id::text, last_seq, event_count, ended_at IS NOT NULL AS ended
FROM meeta.captures
WHERE $1::uuid[] IS NULL OR captures.capture_id = ANY ($1)
ORDER BY captures.capture_id;

-- name: heads_of_meeting
-- How far captures are stored: some of them, and those that by now belong to the same meeting.
-- $1 capture ids
WITH wanted AS (
    SELECT capture_id, meeting_id FROM meeta.captures WHERE capture_id = ANY ($1::uuid[])
), known AS (
    SELECT capture_id FROM wanted
    UNION
    SELECT capture_id FROM meeta.captures WHERE meeting_id = ANY (ARRAY(SELECT meeting_id FROM wanted))
)
SELECT capture_id::text, last_seq, event_count, ended_at IS NOT NULL AS ended
FROM meeta.captures
WHERE captures.capture_id = ANY (ARRAY(SELECT capture_id FROM known))
ORDER BY captures.capture_id;

-- name: events
-- One page of a capture's events. All indexes begin with capture_id, and equality leaves one partition to plan for.
-- $1 capture id, $2 the seq to go on after, $3 the last seq or null, $4 the only type or null, $5 types or null,
-- $6 endpoints or null, $7 not before and $8 before that moment or null, $9 types that are left out or null,
-- $10 limit or null
SELECT capture_id::text, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial,
    inferred, payload, salt, commitment, digest, quarantine_reason
FROM meeta.events
WHERE events.capture_id = $1::uuid
    AND seq > $2::bigint
    AND ($3::bigint IS NULL OR seq <= $3)
    AND ($4::text IS NULL OR type = $4)
    AND ($5::text[] IS NULL OR type = ANY ($5))
    AND ($6::text[] IS NULL OR endpoint_id = ANY ($6))
    AND ($7::timestamptz IS NULL OR occurred_at >= $7)
    AND ($8::timestamptz IS NULL OR occurred_at < $8)
    AND ($9::text[] IS NULL OR type <> ALL ($9))
ORDER BY seq
LIMIT $10;

-- name: page_end
-- The seq of the last event on a page, null when the page is empty: from an index alone, so that of a participant's
-- thousands of events only those of the page are fetched.
-- $1 capture id, $2 the seq to go on after, $3 the last seq or null, $4 the only type or null, $5 types or null,
-- $6 endpoints or null, $7 limit
SELECT max(seq)
FROM (
    SELECT seq
    FROM meeta.events
    WHERE capture_id = $1::uuid
        AND seq > $2::bigint
        AND ($3::bigint IS NULL OR seq <= $3)
        AND ($4::text IS NULL OR type = $4)
        AND ($5::text[] IS NULL OR type = ANY ($5))
        AND ($6::text[] IS NULL OR endpoint_id = ANY ($6))
    ORDER BY seq
    LIMIT $7
) AS page;

-- name: counts
-- How many events of each type some captures have together.
-- $1 capture ids
SELECT type, count(*) AS count
FROM meeta.events
WHERE capture_id = ANY ($1::uuid[])
GROUP BY type
ORDER BY type;

-- name: names
-- Every display name that the endpoints of some captures ever had. Upper and lower case is the caller's matter:
-- in a database with the locale C, lower() knows ASCII only.
-- $1 capture ids
SELECT DISTINCT endpoint_id, name
FROM meeta.events
CROSS JOIN LATERAL (VALUES (payload->>'display_name'), (payload->>'old_name'), (payload->>'new_name')) AS said (name)
WHERE capture_id = ANY ($1::uuid[])
    AND type IN ('participant.joined', 'participant.renamed')
    AND endpoint_id IS NOT NULL
    AND name IS NOT NULL;

-- name: participants
-- The people that captures of one meeting saw, in order of arrival.
-- $1 capture ids
SELECT person, display_name, kind, user_id, endpoint_ids, first_joined_at, last_seen_at, present, visits,
    duration_ms, duration_is_lower_bound, arrivals_seen, departures_seen, unseen_ms, known_by
FROM meeta.participants_of($1::uuid[])
ORDER BY first_joined_at NULLS FIRST, person;

-- name: visits
-- Every visit, as each of some captures saw it.
-- $1 capture ids
SELECT capture_id::text, joined_seq, room, endpoint_id, person, display_name, kind, role, user_id, stats_id,
    joined_at, initial, inferred, left_at, left_after, left_cause, left_reason, seen_until, present, duration_ms,
    duration_is_lower_bound, arrival_seen, departure_seen, unseen_ms, known_by
FROM meeta.visit_times
WHERE visit_times.capture_id = ANY ($1::uuid[])
ORDER BY visit_times.capture_id, joined_seq;

-- name: gaps
-- When some captures could not see, or saw only part.
-- $1 capture ids
SELECT capture_id::text, seq, cause, lost, from_at, to_at, evidence, missed, from_ms, to_ms
FROM meeta.gaps
WHERE gaps.capture_id = ANY ($1::uuid[])
ORDER BY gaps.capture_id, seq;

-- name: quarantine
-- Events of some captures that could not be stored as they came.
-- $1 capture ids as text, which may be no UUIDs
SELECT capture_id, seq, kind, digest, reason, sealed
FROM meeta.quarantine
WHERE capture_id = ANY ($1::text[])
ORDER BY capture_id, seq, kind, digest;
