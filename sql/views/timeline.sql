-- after: views/visit_times

CREATE OR REPLACE VIEW meeta.timeline AS
SELECT capture.meeting_id, event.capture_id, event.seq, event.occurred_at, event.monotonic_ms, event.type,
    event.endpoint_id,
    -- Looked up only when the column is asked for; the index by endpoint leads straight to these few events. The sum
    -- keeps planners from going backwards through all events instead, in the hope to meet one of them soon.
    (SELECT CASE named.type WHEN 'participant.joined' THEN named.payload->>'display_name'
                ELSE named.payload->>'new_name' END
     FROM meeta.events AS named
     WHERE named.capture_id = event.capture_id AND named.endpoint_id = event.endpoint_id
         AND named.type IN ('participant.joined', 'participant.renamed') AND named.payload IS NOT NULL
         AND named.seq <= event.seq
     ORDER BY named.seq + 0 DESC LIMIT 1) AS display_name,
    (SELECT visit.person FROM meeta.visit_times AS visit
     WHERE visit.capture_id = event.capture_id AND visit.endpoint_id = event.endpoint_id
     ORDER BY visit.joined_seq <= event.seq DESC, abs(visit.joined_seq - event.seq) LIMIT 1) AS person,
    event.payload, event.initial, event.inferred
FROM meeta.captures AS capture
JOIN meeta.events AS event ON event.capture_id = capture.capture_id
WHERE event.type NOT IN ('capture.hook_installed', 'capture.heartbeat', 'capture.entering', 'capture.join_in_progress',
    'conference.properties_changed', 'conference.p2p_changed', 'connection.established', 'connection.disconnected',
    'connection.stats_updated', 'bridge_channel.opened', 'focus.refused', 'media.connected', 'media.session_requested',
    'media.sender_limit_changed', 'meeting.identified', 'message.endpoint', 'participant.property_changed', 'recording.pending', 'track.added', 'track.removed', 'unknown')
    -- One line an outage: the tries after the first one are details, and each failure is told by what follows it.
    AND (event.type <> 'connection.failed' OR NOT EXISTS (
        SELECT FROM meeta.events AS next
        WHERE next.capture_id = event.capture_id AND next.seq = event.seq + 1 AND next.type = 'capture.reconnecting'))
    AND (event.type <> 'capture.reconnecting' OR coalesce(event.payload->'attempt' <= '1', true));
COMMENT ON VIEW meeta.timeline IS
    'What happened, gaps and outages of the recorder included, without the technical details that `meeta-bot timeline` '
    'leaves out too (meeta.events has them). Per capture: a meeting with two captures tells most things twice. Order '
    'by capture_id, seq.';
COMMENT ON COLUMN meeta.timeline.meeting_id IS 'The meeting; null while the capture belongs to none.';
COMMENT ON COLUMN meeta.timeline.capture_id IS 'Which capture saw it.';
COMMENT ON COLUMN meeta.timeline.seq IS 'Number within the capture. Has holes here, for what was left out.';
COMMENT ON COLUMN meeta.timeline.occurred_at IS 'Wall clock where it was seen. May jump.';
COMMENT ON COLUMN meeta.timeline.monotonic_ms IS
    'Milliseconds since the capture began, by a clock that never jumps; differs between captures. A departure that was '
    'found after a gap has the gap''s beginning.';
COMMENT ON COLUMN meeta.timeline.type IS 'Stable name from the catalog, such as participant.joined.';
COMMENT ON COLUMN meeta.timeline.endpoint_id IS 'Whom it is about; null when it is about the room or the capture.';
COMMENT ON COLUMN meeta.timeline.display_name IS
    'Name that the endpoint had at that moment, as this capture knew it; null without a name.';
COMMENT ON COLUMN meeta.timeline.person IS
    'Who it is, as in meeta.participants: the same in all captures of the meeting; null for whom no visit was seen.';
COMMENT ON COLUMN meeta.timeline.payload IS 'What happened, in the shape of its type (`meeta-bot schema`).';
COMMENT ON COLUMN meeta.timeline.initial IS 'It was so when the capture came; when it happened is unknown.';
COMMENT ON COLUMN meeta.timeline.inferred IS 'Found by comparison after a gap, not seen happening.';
