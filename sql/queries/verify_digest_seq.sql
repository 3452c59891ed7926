-- The number of the event of a capture that has a digest.
SELECT seq FROM meeta.events WHERE capture_id = $1::uuid AND digest = $2::bytea ORDER BY seq LIMIT 1
