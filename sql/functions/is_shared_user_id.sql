-- after: functions/certain_until_ms

CREATE OR REPLACE FUNCTION meeta.is_shared_user_id(capture meeta.captures, user_id text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- Witness by witness: two clocks are never compared. Without the ids of both browsers, other names tell people apart.
    SELECT EXISTS (
        SELECT
        FROM meeta.captures AS witness
        JOIN meeta.visits AS one ON one.capture_id = witness.capture_id AND one.user_id = is_shared_user_id.user_id
        JOIN meeta.visits AS other ON other.capture_id = one.capture_id AND other.user_id = one.user_id
            AND other.endpoint_id > one.endpoint_id
        WHERE (witness.capture_id = capture.capture_id OR witness.meeting_id = capture.meeting_id)
            AND CASE WHEN one.stats_id <> '' AND other.stats_id <> '' THEN one.stats_id <> other.stats_id
                ELSE one.room = other.room AND one.display_name <> other.display_name END
            AND one.joined_monotonic_ms < coalesce(meeta.certain_until_ms(other), 'infinity')
            AND other.joined_monotonic_ms < coalesce(meeta.certain_until_ms(one), 'infinity'))
$$;
COMMENT ON FUNCTION meeta.is_shared_user_id(meeta.captures, text) IS
    'Was somebody with this user id in the meeting in two browsers at once, as some capture of it saw? Then several '
    'people share one token, and the id says nothing about who is who.';
