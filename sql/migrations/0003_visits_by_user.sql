-- People at once under one user id, without reading all visits of a capture.
CREATE INDEX visits_by_user ON meeta.visits (capture_id, user_id) WHERE user_id <> '';

-- Shows one column more from now on; what is made of it comes back with it.
DROP FUNCTION IF EXISTS meeta.participants_of(uuid[]) CASCADE;
