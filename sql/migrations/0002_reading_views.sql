-- Views for people who know SQL; docs/queries.md has examples. Nothing here is stored, so a rebuild needs nothing.
--
-- Each view begins with meeta.captures and looks into meeta.events by capture_id only: a condition on meeting_id or
-- capture_id first picks the captures, and of meeta.events only their partitions are read. Where windows are needed,
-- they stand in a LATERAL subquery, which no planner can turn into a scan of everything; meeta.timeline leaves it to the
-- planner, which may scan a database that is small anyway, so that a condition on type can use its index.
--
-- A capture is one witness. All views but meeta.participants and meeta.meetings have one row per witness, so a meeting
-- with two captures says most things twice. from_ms and to_ms lie on an axis that the captures of a meeting share:
-- range_agg(int8range(from_ms, to_ms)) counts a moment once, however many saw it.

CREATE FUNCTION meeta.shared_ms(capture meeta.captures, monotonic_ms bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- The same anchor as in meeta.visit_times, so that intervals of both can be compared.
    SELECT meeta.whole(monotonic_ms + coalesce(
        trunc(extract(epoch FROM capture.started_at) * 1000),
        trunc(extract(epoch FROM capture.last_at) * 1000) - capture.last_monotonic_ms))
$$;
COMMENT ON FUNCTION meeta.shared_ms(meeta.captures, bigint) IS
    'A moment of a capture on the axis that captures share: wall clock of its start plus its monotonic clock.';

-- --- the story ------------------------------------------------------------------------------------------------------

CREATE VIEW meeta.timeline AS
SELECT capture.meeting_id, event.capture_id, event.seq, event.occurred_at, event.monotonic_ms, event.type,
    event.endpoint_id,
    -- Looked up only when the column is asked for; the index by endpoint leads straight to these few events.
    (SELECT CASE named.type WHEN 'participant.joined' THEN named.payload->>'display_name'
                ELSE named.payload->>'new_name' END
     FROM meeta.events AS named
     WHERE named.capture_id = event.capture_id AND named.endpoint_id = event.endpoint_id
         AND named.type IN ('participant.joined', 'participant.renamed') AND named.payload IS NOT NULL
         AND named.seq <= event.seq
     ORDER BY named.seq DESC LIMIT 1) AS display_name,
    (SELECT visit.person FROM meeta.visit_times AS visit
     WHERE visit.capture_id = event.capture_id AND visit.endpoint_id = event.endpoint_id
     ORDER BY visit.joined_seq <= event.seq DESC, abs(visit.joined_seq - event.seq) LIMIT 1) AS person,
    event.payload, event.initial, event.inferred
FROM meeta.captures AS capture
JOIN meeta.events AS event ON event.capture_id = capture.capture_id
WHERE event.type NOT IN ('capture.hook_installed', 'capture.heartbeat', 'capture.join_in_progress',
    'conference.properties_changed', 'conference.p2p_changed', 'connection.established', 'connection.disconnected',
    'connection.stats_updated', 'bridge_channel.opened', 'media.connected', 'meeting.identified', 'message.endpoint',
    'participant.property_changed', 'recording.pending', 'track.added', 'track.removed', 'unknown');
COMMENT ON VIEW meeta.timeline IS
    'What happened, without the technical details that `meeta-bot timeline` leaves out too (meeta.events has them). '
    'Per capture: a meeting with two captures tells most things twice. Order by capture_id, seq.';
COMMENT ON COLUMN meeta.timeline.meeting_id IS 'The meeting; null while the capture belongs to none.';
COMMENT ON COLUMN meeta.timeline.capture_id IS 'Which capture saw it.';
COMMENT ON COLUMN meeta.timeline.seq IS 'Number within the capture. Has holes here, for what was left out.';
COMMENT ON COLUMN meeta.timeline.occurred_at IS 'Wall clock where it was seen. May jump.';
COMMENT ON COLUMN meeta.timeline.monotonic_ms IS
    'Milliseconds since the capture began, by a clock that never jumps; differs between captures.';
COMMENT ON COLUMN meeta.timeline.type IS 'Stable name from the catalog, such as participant.joined.';
COMMENT ON COLUMN meeta.timeline.endpoint_id IS 'Whom it is about; null when it is about the room or the capture.';
COMMENT ON COLUMN meeta.timeline.display_name IS
    'Name that the endpoint had at that moment, as this capture knew it; null without a name.';
COMMENT ON COLUMN meeta.timeline.person IS
    'Who it is, as in meeta.participants: the same in all captures of the meeting; null for whom no visit was seen.';
COMMENT ON COLUMN meeta.timeline.payload IS 'What happened, in the shape of its type (`meeta-bot schema`).';
COMMENT ON COLUMN meeta.timeline.initial IS 'It was so when the capture came; when it happened is unknown.';
COMMENT ON COLUMN meeta.timeline.inferred IS 'Found by comparison after a gap, not seen happening.';

-- --- intervals ------------------------------------------------------------------------------------------------------

CREATE VIEW meeta.speaking AS
SELECT capture.meeting_id, capture.capture_id, turn.seq, turn.endpoint_id,
    coalesce(visit.person, 'endpoint ' || turn.endpoint_id) AS person, visit.display_name,
    turn.occurred_at AS from_at,
    coalesce(turn.ended_at, capture.last_at) AS to_at,
    meeta.elapsed_ms(turn.monotonic_ms, coalesce(turn.ended_ms, capture.last_monotonic_ms)) AS duration_ms,
    turn.initial OR turn.ended_by IS NULL
        OR turn.ended_by IN ('capture.kicked', 'conference.left', 'capture.ended') AS duration_is_lower_bound,
    turn.ended_by,
    meeta.shared_ms(capture, turn.monotonic_ms) AS from_ms,
    meeta.shared_ms(capture, greatest(turn.monotonic_ms, coalesce(turn.ended_ms, capture.last_monotonic_ms))) AS to_ms
FROM meeta.captures AS capture
CROSS JOIN LATERAL (
    SELECT heard.*, lead(type) OVER next AS ended_by, lead(occurred_at) OVER next AS ended_at,
        lead(monotonic_ms) OVER next AS ended_ms
    FROM (
        SELECT numbered.*, first_value(endpoint_id) OVER (PARTITION BY number ORDER BY seq) AS speaker
        FROM (
            SELECT seq, type, endpoint_id, occurred_at, monotonic_ms, initial,
                coalesce(payload @> '{"silence": true}', false) AS silence,
                count(*) FILTER (WHERE type = 'dominant_speaker.changed') OVER (ORDER BY seq) AS number
            FROM meeta.events AS event
            WHERE event.capture_id = capture.capture_id
                AND type IN ('dominant_speaker.changed', 'participant.left', 'capture.kicked', 'conference.left',
                    'capture.ended')
        ) AS numbered
    ) AS heard
    -- Of those who leave, only the speaker ends a turn.
    WHERE type <> 'participant.left' OR endpoint_id = speaker
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
    'leaves, or when the capture no longer sees. A gap within is not taken out: compare with meeta.gaps.';
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
    'It had begun before the capture came, or went on when the capture no longer saw: it lasted at least this long.';
COMMENT ON COLUMN meeta.speaking.ended_by IS
    'Type of the event that ended it: dominant_speaker.changed, participant.left, capture.kicked, conference.left or '
    'capture.ended; null when nothing has, as far as this capture got.';
COMMENT ON COLUMN meeta.speaking.from_ms IS
    'Beginning on an axis that captures share: wall clock of the capture''s start plus its monotonic clock.';
COMMENT ON COLUMN meeta.speaking.to_ms IS 'End on that axis.';

CREATE VIEW meeta.states AS
SELECT capture.meeting_id, capture.capture_id, state.seq, state.type, state.endpoint_id,
    coalesce(visit.person, 'endpoint ' || state.endpoint_id) AS person, visit.display_name,
    state.occurred_at AS from_at,
    coalesce(state.ended_at, capture.last_at) AS to_at,
    meeta.elapsed_ms(state.monotonic_ms, coalesce(state.ended_ms, capture.last_monotonic_ms)) AS duration_ms,
    state.initial OR state.ended_by IS NULL
        OR state.ended_by IN ('capture.kicked', 'conference.left', 'capture.ended') AS duration_is_lower_bound,
    state.ended_by,
    meeta.shared_ms(capture, state.monotonic_ms) AS from_ms,
    meeta.shared_ms(capture, greatest(state.monotonic_ms, coalesce(state.ended_ms, capture.last_monotonic_ms))) AS to_ms
FROM meeta.captures AS capture
CROSS JOIN LATERAL (
    SELECT edge.*, lead(type) OVER next AS ended_by, lead(occurred_at) OVER next AS ended_at,
        lead(monotonic_ms) OVER next AS ended_ms
    FROM (
        SELECT split_part(type, '.', 1) AS topic, endpoint_id, seq, type, occurred_at, monotonic_ms, initial
        FROM meeta.events AS event
        WHERE event.capture_id = capture.capture_id AND endpoint_id IS NOT NULL
            AND type IN ('audio.muted', 'audio.unmuted', 'video.muted', 'video.unmuted', 'screen_share.started',
                'screen_share.stopped', 'hand.raised', 'hand.lowered')
        UNION ALL
        -- Who leaves ends all of their own; when the bot goes, it is everybody's that it no longer sees.
        SELECT topic, seen.endpoint_id, seq, type, occurred_at, monotonic_ms, initial
        FROM meeta.events AS event
        JOIN (SELECT DISTINCT endpoint_id FROM meeta.visits AS visit
              WHERE visit.capture_id = capture.capture_id) AS seen
            ON type <> 'participant.left' OR seen.endpoint_id = event.endpoint_id
        CROSS JOIN unnest(ARRAY['audio', 'video', 'screen_share', 'hand']) AS topic
        WHERE event.capture_id = capture.capture_id
            AND type IN ('participant.left', 'capture.kicked', 'conference.left', 'capture.ended')
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
    'the participant''s departure, or when the capture no longer sees. A gap within is not taken out.';
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
    'It was so before the capture came, or still when the capture no longer saw: it lasted at least this long.';
COMMENT ON COLUMN meeta.states.ended_by IS
    'Type of the event that ended it; null when nothing has, as far as this capture got.';
COMMENT ON COLUMN meeta.states.from_ms IS
    'Beginning on an axis that captures share: wall clock of the capture''s start plus its monotonic clock.';
COMMENT ON COLUMN meeta.states.to_ms IS 'End on that axis.';

-- --- numbers --------------------------------------------------------------------------------------------------------

CREATE VIEW meeta.counts AS
SELECT capture.meeting_id, capture.capture_id, counted.type, counted.events
FROM meeta.captures AS capture
CROSS JOIN LATERAL (
    SELECT type, count(*) AS events FROM meeta.events AS event
    WHERE event.capture_id = capture.capture_id GROUP BY type) AS counted;
COMMENT ON VIEW meeta.counts IS
    'How many events of each type a capture stored, technical ones included. Per capture: the sum over a meeting '
    'counts what two captures saw twice; max(events) is what the capture that saw most has.';
COMMENT ON COLUMN meeta.counts.meeting_id IS 'The meeting; null while the capture belongs to none.';
COMMENT ON COLUMN meeta.counts.capture_id IS 'Which capture.';
COMMENT ON COLUMN meeta.counts.type IS 'Type of the events; none with zero events is listed.';
COMMENT ON COLUMN meeta.counts.events IS 'How many.';

-- --- comments that meeta.visit_times lacked -------------------------------------------------------------------------

COMMENT ON COLUMN meeta.visit_times.capture_id IS 'Which capture saw it.';
COMMENT ON COLUMN meeta.visit_times.meeting_id IS 'The meeting; null while the capture belongs to none.';
COMMENT ON COLUMN meeta.visit_times.joined_seq IS
    'Number of the participant.joined; of the participant.left when the arrival was never seen.';
COMMENT ON COLUMN meeta.visit_times.room IS 'main, or the id of a breakout room.';
COMMENT ON COLUMN meeta.visit_times.endpoint_id IS 'The participant''s endpoint; the same in all captures.';
COMMENT ON COLUMN meeta.visit_times.display_name IS 'The latest during the visit.';
COMMENT ON COLUMN meeta.visit_times.kind IS 'human, phone, recorder, transcriber, bot or hidden; null when erased.';
COMMENT ON COLUMN meeta.visit_times.role IS 'The latest during the visit.';
COMMENT ON COLUMN meeta.visit_times.user_id IS 'Who it is by the token; null without one.';
COMMENT ON COLUMN meeta.visit_times.stats_id IS 'Jitsi''s id of the browser.';
COMMENT ON COLUMN meeta.visit_times.joined_at IS 'Wall clock of the arrival; null when it was never seen.';
COMMENT ON COLUMN meeta.visit_times.initial IS 'Was there when the capture came: the arrival was earlier.';
COMMENT ON COLUMN meeta.visit_times.inferred IS 'Arrival or departure was found after a gap, not seen.';
COMMENT ON COLUMN meeta.visit_times.left_at IS 'Wall clock of the departure; null while there is none.';
COMMENT ON COLUMN meeta.visit_times.left_cause IS
    'left, kicked or replaced; unseen when the same endpoint arrived again before it was seen to leave.';
COMMENT ON COLUMN meeta.visit_times.left_reason IS 'What the server or the participant said.';
