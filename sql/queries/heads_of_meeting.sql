-- How far captures are stored: some of them, and those that by now belong to the same meeting.
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
ORDER BY captures.capture_id
