-- $1 capture ids, $2 now, $3 seconds without life that mean lost
SELECT capture_id::text, meeting_id::text, deployment, room, room_url, bot_name, program_version, library_version,
    started_at, joined_at, endpoint_id, ended_at, end_reason, end_detail, meeting_basis, server_meeting_id,
    meeting_created_at, meeting_started_at, meeting_ended_at, meeting_end_reason, subject, host_endpoint_id,
    host_name, heartbeat_at, last_at, last_seq, event_count, head_digest,
    CASE WHEN ended_at IS NOT NULL THEN 'ended'
         WHEN greatest(heartbeat_at, last_at) < $2::timestamptz - make_interval(secs => $3) THEN 'lost'
         ELSE 'recording' END AS state
FROM meeta.captures
WHERE capture_id = ANY ($1::uuid[])
ORDER BY captures.capture_id
