CREATE OR REPLACE FUNCTION meeta.came_back(capture_id uuid, left_seq bigint) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM meeta.events AS event
        WHERE event.capture_id = came_back.capture_id AND event.type = 'conference.joined'
            AND event.seq > left_seq)
$$;
COMMENT ON FUNCTION meeta.came_back(uuid, bigint) IS
    'Was the bot in the room again after this conference.left? Then states go on: what changed meanwhile is inferred.';
