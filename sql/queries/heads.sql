-- How far captures are stored: some of them, or all for null.
SELECT capture_id::text, last_seq, event_count, ended_at IS NOT NULL AS ended
FROM meeta.captures
WHERE $1::uuid[] IS NULL OR captures.capture_id = ANY ($1)
ORDER BY captures.capture_id
