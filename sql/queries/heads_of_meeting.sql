-- How far captures are stored: some of them, and those that by now belong to the same meeting.
SELECT capture_id::text, last_seq, event_count, ended_at IS NOT NULL AS ended
FROM meeta.captures
WHERE captures.capture_id = ANY ($1::uuid[])
    OR meeting_id = ANY (ARRAY(
        SELECT meeting_id FROM meeta.captures WHERE captures.capture_id = ANY ($1) AND meeting_id IS NOT NULL))
ORDER BY captures.capture_id
