-- after: functions/blind_spans, functions/came_back, functions/elapsed_ms, functions/length_ms, functions/shared_ms
-- after: functions/span, views/visit_times

CREATE OR REPLACE VIEW meeta.states AS
SELECT capture.meeting_id, capture.capture_id, state.seq, state.type, state.endpoint_id,
    coalesce(visit.person, 'endpoint ' || state.endpoint_id) AS person, visit.display_name,
    state.occurred_at AS from_at,
    coalesce(state.ended_at, capture.last_at) AS to_at,
    meeta.elapsed_ms(state.monotonic_ms, coalesce(state.ended_ms, capture.last_monotonic_ms)) AS duration_ms,
    state.initial OR state.inferred OR state.ended_by IS NULL
        OR state.ended_by IN ('participant.moved_to_breakout', 'capture.kicked', 'conference.left', 'capture.ended')
        OR (state.ended_by = 'participant.left' AND state.end_inferred) AS duration_is_lower_bound,
    state.ended_by,
    meeta.shared_ms(capture, state.monotonic_ms) AS from_ms,
    meeta.shared_ms(capture,
        greatest(state.monotonic_ms, coalesce(state.ended_ms, capture.last_monotonic_ms))) AS to_ms,
    meeta.length_ms(meeta.blind_spans(capture, '{everything}') * meeta.span(
        meeta.shared_ms(capture, state.monotonic_ms),
        meeta.shared_ms(capture, coalesce(state.ended_ms, capture.last_monotonic_ms)))) AS unseen_ms
FROM meeta.captures AS capture
CROSS JOIN LATERAL (
    SELECT edge.*, lead(type) OVER next AS ended_by, lead(occurred_at) OVER next AS ended_at,
        lead(monotonic_ms) OVER next AS ended_ms,
        lead(inferred) OVER next AS end_inferred
    FROM (
        SELECT split_part(type, '.', 1) AS topic, endpoint_id, seq, type, occurred_at, monotonic_ms, initial, inferred
        FROM meeta.events AS event
        WHERE event.capture_id = capture.capture_id AND endpoint_id IS NOT NULL
            AND type IN ('audio.muted', 'audio.unmuted', 'video.muted', 'video.unmuted', 'screen_share.started',
                'screen_share.stopped', 'hand.raised', 'hand.lowered')
        UNION ALL
        -- Who leaves ends all of their own, and who goes where the bot does not see them; when the bot goes, it is everybody's that it no longer sees.
        SELECT topic, seen.endpoint_id, seq, type, occurred_at, monotonic_ms, initial, inferred
        FROM meeta.events AS event
        JOIN (SELECT DISTINCT endpoint_id FROM meeta.visits AS visit
              WHERE visit.capture_id = capture.capture_id) AS seen
            ON type NOT IN ('participant.left', 'participant.moved_to_breakout')
                OR seen.endpoint_id = event.endpoint_id
        CROSS JOIN unnest(ARRAY['audio', 'video', 'screen_share', 'hand']) AS topic
        WHERE event.capture_id = capture.capture_id
            AND type IN ('participant.left', 'participant.moved_to_breakout', 'capture.kicked', 'conference.left',
                'capture.ended')
            AND (type <> 'conference.left' OR NOT meeta.came_back(event.capture_id, event.seq))
    ) AS edge
    WINDOW next AS (PARTITION BY endpoint_id, topic ORDER BY seq)
) AS state
LEFT JOIN LATERAL (
    SELECT person, display_name FROM meeta.visit_times AS visit
    WHERE visit.capture_id = capture.capture_id AND visit.endpoint_id = state.endpoint_id
    ORDER BY visit.joined_seq <= state.seq DESC, abs(visit.joined_seq - state.seq) LIMIT 1
) AS visit ON true
WHERE state.type IN ('audio.muted', 'audio.unmuted', 'video.muted', 'video.unmuted', 'screen_share.started',
    'hand.raised');
COMMENT ON VIEW meeta.states IS
    'For how long a microphone was open or closed, a camera on or off, a screen shared, a hand up. Per capture: merge '
    'on from_ms and to_ms before adding up captures of one meeting. Ends with the next event of the same topic, with '
    'the participant''s departure, or when the capture no longer sees. A gap within is not taken out: unseen_ms says '
    'how long it was.';
COMMENT ON COLUMN meeta.states.meeting_id IS 'The meeting; null while the capture belongs to none.';
COMMENT ON COLUMN meeta.states.capture_id IS 'Which capture saw it.';
COMMENT ON COLUMN meeta.states.seq IS 'Number of the event that begins it.';
COMMENT ON COLUMN meeta.states.type IS
    'The state, by the event that begins it: audio.muted, audio.unmuted, video.muted, video.unmuted, '
    'screen_share.started or hand.raised.';
COMMENT ON COLUMN meeta.states.endpoint_id IS 'Whose it is; the same in all captures.';
COMMENT ON COLUMN meeta.states.person IS
    'Who it is, as in meeta.participants: by user id, else browser and name, else endpoint.';
COMMENT ON COLUMN meeta.states.display_name IS 'That one''s latest name during that visit.';
COMMENT ON COLUMN meeta.states.from_at IS 'Wall clock of the beginning.';
COMMENT ON COLUMN meeta.states.to_at IS 'Wall clock of the end; the capture''s last moment while there is none.';
COMMENT ON COLUMN meeta.states.duration_ms IS 'Milliseconds by the monotonic clock.';
COMMENT ON COLUMN meeta.states.duration_is_lower_bound IS
    'It was so before the capture came or came about in a gap, or was still so when the capture no longer saw: it '
    'lasted at least this long.';
COMMENT ON COLUMN meeta.states.ended_by IS
    'Type of the event that ended it; null when nothing has, as far as this capture got.';
COMMENT ON COLUMN meeta.states.from_ms IS
    'Beginning on an axis that captures share: wall clock of the capture''s start plus its monotonic clock.';
COMMENT ON COLUMN meeta.states.to_ms IS 'End on that axis.';
COMMENT ON COLUMN meeta.states.unseen_ms IS
    'How much of duration_ms lies in gaps of this capture in which it saw nothing.';
