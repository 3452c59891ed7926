-- One capture: how many events are stored, which is the last, and what captures says of it (null without that row).
SELECT counted.events, counted.last_seq, head.digest AS head, head.occurred_at AS last_at,
    head.monotonic_ms AS last_monotonic_ms,
    known.capture_id IS NOT NULL AS is_known, known.meeting_id::text AS meeting_id, known.room,
    known.event_count AS told_events, known.last_seq AS told_last_seq, known.head_digest AS told_head,
    known.last_at AS told_last_at, known.last_monotonic_ms AS told_last_monotonic_ms
FROM (SELECT count(*) AS events, max(seq) AS last_seq FROM meeta.events WHERE capture_id = $1::uuid) AS counted
LEFT JOIN meeta.events AS head ON head.capture_id = $1 AND head.seq = counted.last_seq
LEFT JOIN meeta.captures AS known ON known.capture_id = $1
