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
SELECT scope.meeting_id::text, scope.capture_ids::text[], scope.state, scope.event_count,
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
ORDER BY scope.capture_ids[cardinality(scope.capture_ids)] DESC
