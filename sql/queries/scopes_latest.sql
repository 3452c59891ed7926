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
LIMIT $2
