-- after: functions/blind_spans, functions/came_back, functions/elapsed_ms, functions/length_ms, functions/shared_ms
-- after: functions/span, views/visit_times

CREATE OR REPLACE VIEW meeta.speaking AS
SELECT capture.meeting_id, capture.capture_id, turn.seq, turn.endpoint_id,
    coalesce(visit.person, 'endpoint ' || turn.endpoint_id) AS person, visit.display_name,
    turn.occurred_at AS from_at,
    coalesce(turn.ended_at, capture.last_at) AS to_at,
    meeta.elapsed_ms(turn.monotonic_ms, coalesce(turn.ended_ms, capture.last_monotonic_ms)) AS duration_ms,
    turn.initial OR turn.inferred OR turn.ended_by IS NULL
        OR turn.ended_by IN ('participant.moved_to_breakout', 'capture.kicked', 'conference.left', 'capture.ended')
        OR (turn.ended_by = 'participant.left' AND turn.end_inferred) AS duration_is_lower_bound,
    turn.ended_by,
    meeta.shared_ms(capture, turn.monotonic_ms) AS from_ms,
    meeta.shared_ms(capture, greatest(turn.monotonic_ms, coalesce(turn.ended_ms, capture.last_monotonic_ms))) AS to_ms,
    meeta.length_ms(meeta.blind_spans(capture, '{everything,bridge_only}') * meeta.span(
        meeta.shared_ms(capture, turn.monotonic_ms),
        meeta.shared_ms(capture, coalesce(turn.ended_ms, capture.last_monotonic_ms)))) AS unseen_ms
FROM meeta.captures AS capture
CROSS JOIN LATERAL (
    SELECT heard.*, lead(type) OVER next AS ended_by, lead(occurred_at) OVER next AS ended_at,
        lead(monotonic_ms) OVER next AS ended_ms,
        lead(inferred) OVER next AS end_inferred
    FROM (
        SELECT numbered.*, first_value(endpoint_id) OVER (PARTITION BY number ORDER BY seq) AS speaker
        FROM (
            SELECT seq, type, endpoint_id, occurred_at, monotonic_ms, initial, inferred,
                coalesce(payload @> '{"silence": true}', false) AS silence,
                count(*) FILTER (WHERE type = 'dominant_speaker.changed') OVER (ORDER BY seq) AS number
            FROM meeta.events AS event
            WHERE event.capture_id = capture.capture_id
                AND type IN ('dominant_speaker.changed', 'participant.left', 'participant.moved_to_breakout',
                    'capture.kicked', 'conference.left', 'capture.ended')
                AND (type <> 'conference.left' OR NOT meeta.came_back(event.capture_id, event.seq))
        ) AS numbered
    ) AS heard
    -- Of those who leave, only the speaker ends a turn.
    WHERE type NOT IN ('participant.left', 'participant.moved_to_breakout') OR endpoint_id = speaker
    WINDOW next AS (ORDER BY seq)
) AS turn
LEFT JOIN LATERAL (
    -- The bridge may name somebody a moment before presence shows the arrival: then the visit that follows.
    SELECT person, display_name FROM meeta.visit_times AS visit
    WHERE visit.capture_id = capture.capture_id AND visit.endpoint_id = turn.endpoint_id
    ORDER BY visit.joined_seq <= turn.seq DESC, abs(visit.joined_seq - turn.seq) LIMIT 1
) AS visit ON true
WHERE turn.type = 'dominant_speaker.changed' AND NOT turn.silence;
COMMENT ON VIEW meeta.speaking IS
    'When somebody was the dominant speaker, as the bridge says. Per capture, one after the other: merge on from_ms '
    'and to_ms before adding up captures of one meeting. Ends when another speaks or nobody does, when the speaker '
    'leaves, or when the capture no longer sees. A gap within is not taken out: unseen_ms says how long it was.';
COMMENT ON COLUMN meeta.speaking.meeting_id IS 'The meeting; null while the capture belongs to none.';
COMMENT ON COLUMN meeta.speaking.capture_id IS 'Which capture heard of it.';
COMMENT ON COLUMN meeta.speaking.seq IS 'Number of the dominant_speaker.changed that begins it.';
COMMENT ON COLUMN meeta.speaking.endpoint_id IS 'The speaker''s endpoint; the same in all captures.';
COMMENT ON COLUMN meeta.speaking.person IS
    'Who it is, as in meeta.participants: by user id, else browser and name, else endpoint.';
COMMENT ON COLUMN meeta.speaking.display_name IS 'The speaker''s latest name during that visit.';
COMMENT ON COLUMN meeta.speaking.from_at IS 'Wall clock of the beginning.';
COMMENT ON COLUMN meeta.speaking.to_at IS 'Wall clock of the end; the capture''s last moment while there is none.';
COMMENT ON COLUMN meeta.speaking.duration_ms IS 'Milliseconds by the monotonic clock.';
COMMENT ON COLUMN meeta.speaking.duration_is_lower_bound IS
    'It had begun before the capture came or in a gap, or went on when the capture no longer saw: it lasted at least '
    'this long.';
COMMENT ON COLUMN meeta.speaking.ended_by IS
    'Type of the event that ended it: dominant_speaker.changed, participant.left, participant.moved_to_breakout, '
    'capture.kicked, conference.left or capture.ended; null when nothing has, as far as this capture got.';
COMMENT ON COLUMN meeta.speaking.from_ms IS
    'Beginning on an axis that captures share: wall clock of the capture''s start plus its monotonic clock.';
COMMENT ON COLUMN meeta.speaking.to_ms IS 'End on that axis.';
COMMENT ON COLUMN meeta.speaking.unseen_ms IS
    'How much of duration_ms lies in gaps of this capture in which it could not hear the bridge.';
