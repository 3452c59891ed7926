-- Ids of meetings, and of captures that belong to none, that a hexadecimal prefix (without dashes) names.
SELECT DISTINCT coalesce(meeting_id, capture_id) AS scope_id
FROM meeta.captures
WHERE starts_with(replace(meeting_id::text, '-', ''), $1) OR starts_with(replace(capture_id::text, '-', ''), $1)
LIMIT $2
