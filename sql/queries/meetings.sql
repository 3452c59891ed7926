-- Meetings, and captures that belong to none, newest first.
-- $1 room or null, $2 ids of meetings or captures or null, $3 limit, $4 now, $5 seconds without life that mean lost
WITH capture AS (
    SELECT captures.*, coalesce(meeting_id, capture_id) AS scope_id,
        CASE WHEN ended_at IS NOT NULL THEN 'ended'
             WHEN greatest(heartbeat_at, last_at) < $4::timestamptz - make_interval(secs => $5) THEN 'lost'
             ELSE 'recording' END AS state
    FROM meeta.captures
    WHERE $1::text IS NULL OR (lower(left(room, 100)) = lower(left($1, 100)) AND lower(room) = lower($1))
), scope AS (
    SELECT scope_id, meeting_id, array_agg(capture_id ORDER BY capture_id) AS capture_ids,
        sum(event_count)::bigint AS event_count, max(coalesce(started_at, last_at)) AS newest,
        CASE WHEN bool_or(state = 'recording') THEN 'recording'
             WHEN bool_or(state = 'ended') THEN 'ended' ELSE 'lost' END AS state
    FROM capture
    GROUP BY scope_id, meeting_id
    HAVING $2::uuid[] IS NULL OR scope_id = ANY ($2) OR array_agg(capture_id) && $2
    ORDER BY newest DESC, scope_id DESC
    LIMIT $3
)
SELECT scope.meeting_id::text, scope.capture_ids::text[], scope.state, scope.event_count,
    coalesce(meeting.deployment, lone.deployment) AS deployment,
    coalesce(meeting.room, lone.room) AS room,
    meeting.server_meeting_id, meeting.created_at, meeting.started_at, meeting.ended_at,
    CASE WHEN scope.meeting_id IS NULL THEN lone.end_reason ELSE meeting.end_reason END AS end_reason,
    coalesce(meeting.subject, lone.subject) AS subject,
    meeting.host_endpoint_id, meeting.host_name,
    coalesce(meeting.captured_at, lone.started_at, lone.last_at) AS captured_at,
    (SELECT count(*) FROM meeta.participants_of(scope.capture_ids) WHERE kind IN ('human', 'phone')) AS people
FROM scope
LEFT JOIN meeta.meetings AS meeting ON meeting.meeting_id = scope.meeting_id
JOIN meeta.captures AS lone ON lone.capture_id = scope.capture_ids[1]
ORDER BY scope.newest DESC, scope.scope_id DESC
