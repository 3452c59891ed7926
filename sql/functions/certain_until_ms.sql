-- after: functions/moment

CREATE OR REPLACE FUNCTION meeta.certain_until_ms(visit meeta.visits) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE visit.left_cause
        WHEN 'unseen' THEN CASE WHEN EXISTS (
                SELECT FROM meeta.events AS event
                WHERE event.capture_id = visit.capture_id AND event.seq = visit.left_seq
                    AND event.type = 'participant.left')
            THEN visit.left_monotonic_ms ELSE visit.joined_monotonic_ms END
        WHEN 'lost' THEN visit.left_monotonic_ms - coalesce((
                SELECT extract(epoch FROM visit.left_at - meeta.moment(event.payload->'last_heard_at')) * 1000
                FROM meeta.events AS event
                WHERE event.capture_id = visit.capture_id AND event.seq = visit.left_seq), 0)
        ELSE visit.left_monotonic_ms END
$$;
COMMENT ON FUNCTION meeta.certain_until_ms(meeta.visits) IS
    'Until when somebody was there for certain, by the capture''s monotonic clock; null while the visit is open. Who was '
    'lost counts until last heard of, since a server keeps a broken connection''s ghost for a minute or more; who came '
    'again without having left counts as seen at the arrival only.';
