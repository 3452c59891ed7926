-- Ids of meetings, and of captures that belong to none, between two ids.
-- $1 and $2 the smallest and the largest id, $3 limit
SELECT meeting_id AS scope_id
FROM meeta.captures
WHERE meeting_id BETWEEN $1::uuid AND $2::uuid
UNION
SELECT coalesce(meeting_id, capture_id)
FROM meeta.captures
WHERE capture_id BETWEEN $1 AND $2
LIMIT $3
