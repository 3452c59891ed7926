-- Gaps by both clocks, and durations that say what of them was seen: a capture goes on over an outage now, and finds
-- out afterwards who came and went meanwhile.

-- --- gaps -----------------------------------------------------------------------------------------------------------

ALTER TABLE meeta.gaps ADD COLUMN from_ms bigint, ADD COLUMN to_ms bigint;

COMMENT ON COLUMN meeta.gaps.from_ms IS
    'from_at by the monotonic clock of the capture; negative when it lies before the capture. Null in gaps of older '
    'recorders.';
COMMENT ON COLUMN meeta.gaps.to_ms IS
    'to_at by the monotonic clock of the capture: to_ms - from_ms is how long it was. Null in gaps of older recorders.';

CREATE OR REPLACE FUNCTION meeta.project_gaps(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO meeta.gaps (capture_id, seq, cause, lost, from_at, to_at, evidence, missed, from_ms, to_ms)
    SELECT capture_id, seq, payload->>'cause', payload->>'lost',
        meeta.moment(payload->'from_at'), meeta.moment(payload->'to_at'),
        payload->>'evidence', meeta.whole(payload->'missed'),
        meeta.whole(payload->'from_ms'), meeta.whole(payload->'to_ms')
    FROM unnest(capture_ids, seqs) AS fresh (capture_id, seq)
    JOIN meeta.events USING (capture_id, seq)
    WHERE payload IS NOT NULL
    ON CONFLICT (capture_id, seq) DO NOTHING
$$;

-- A row that is there already says what a rebuild would say of it.
UPDATE meeta.gaps AS gap SET
    from_ms = meeta.whole(event.payload->'from_ms'), to_ms = meeta.whole(event.payload->'to_ms')
FROM meeta.events AS event
WHERE event.capture_id = gap.capture_id AND event.seq = gap.seq AND event.type = 'capture.gap'
    AND event.payload ?| ARRAY['from_ms', 'to_ms'];

-- --- what was not seen ----------------------------------------------------------------------------------------------

CREATE FUNCTION meeta.span(from_ms bigint, to_ms bigint) RETURNS int8multirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN from_ms < to_ms THEN int8multirange(int8range(from_ms, to_ms)) ELSE '{}' END
$$;
COMMENT ON FUNCTION meeta.span(bigint, bigint) IS
    'An interval as a set that others can be joined with or taken from; empty when it ends before it begins.';

CREATE FUNCTION meeta.length_ms(spans int8multirange) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT meeta.whole(coalesce(sum(upper(span)::numeric - lower(span)), 0)) FROM unnest(spans) AS span
$$;
COMMENT ON FUNCTION meeta.length_ms(int8multirange) IS 'How many milliseconds all intervals of a set have together.';

CREATE FUNCTION meeta.blind_spans(capture meeta.captures, losses text[]) RETURNS int8multirange
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- A gap without monotonic clock stands where the wall clock says, which is the same unless that was set meanwhile.
    SELECT coalesce(range_agg(meeta.span(
        CASE WHEN gap.from_ms IS NULL THEN trunc(extract(epoch FROM gap.from_at) * 1000)::bigint
            ELSE meeta.shared_ms(capture, gap.from_ms) END,
        CASE WHEN gap.to_ms IS NULL THEN trunc(extract(epoch FROM gap.to_at) * 1000)::bigint
            ELSE meeta.shared_ms(capture, gap.to_ms) END)), '{}')
    FROM meeta.gaps AS gap
    WHERE gap.capture_id = capture.capture_id AND gap.lost = ANY (losses)
$$;
COMMENT ON FUNCTION meeta.blind_spans(meeta.captures, text[]) IS
    'When a capture was blind, by its gaps that lost one of these (everything, bridge_only), on the axis that captures '
    'share.';

CREATE FUNCTION meeta.was_inferred(capture_id uuid, seq bigint, type text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((
        SELECT event.inferred AND event.type = was_inferred.type FROM meeta.events AS event
        WHERE event.capture_id = was_inferred.capture_id AND event.seq = was_inferred.seq), true)
$$;
COMMENT ON FUNCTION meeta.was_inferred(uuid, bigint, text) IS
    'Was this event, if it is of that type, found after a gap? Also true when it is no longer there.';

-- Inferred visits are few, so which of their ends was inferred is looked up instead of stored.
CREATE OR REPLACE VIEW meeta.visit_times AS
SELECT visit.capture_id, capture.meeting_id, visit.joined_seq, visit.room, visit.endpoint_id,
    CASE
        WHEN visit.user_id <> '' THEN 'user ' || visit.user_id
        WHEN visit.stats_id <> '' THEN 'browser ' || visit.stats_id || ' ' || coalesce(visit.display_name, '')
        ELSE 'endpoint ' || visit.endpoint_id
    END AS person,
    visit.display_name, visit.kind, visit.role, visit.user_id, visit.stats_id,
    visit.joined_at, visit.initial, visit.inferred, visit.left_at, visit.left_cause, visit.left_reason,
    coalesce(visit.left_at, capture.last_at) AS seen_until,
    meeta.elapsed_ms(coalesce(visit.joined_monotonic_ms, visit.left_monotonic_ms),
        coalesce(visit.left_monotonic_ms, capture.last_monotonic_ms)) AS duration_ms,
    visit.joined_at IS NULL OR visit.initial OR visit.left_seq IS NULL
        OR found.arrival OR found.departure AS duration_is_lower_bound,
    visit.joined_at IS NOT NULL AND NOT visit.initial
        AND NOT found.arrival AS arrival_seen,
    visit.left_seq IS NOT NULL AND coalesce(visit.left_cause, '') <> 'unseen'
        AND NOT found.departure AS departure_seen,
    visit.left_seq IS NULL AND capture.ended_at IS NULL AS present,
    meeta.whole(anchor.ms + coalesce(visit.joined_monotonic_ms, visit.left_monotonic_ms)) AS from_ms,
    greatest(
        meeta.whole(anchor.ms + coalesce(visit.joined_monotonic_ms, visit.left_monotonic_ms)),
        meeta.whole(anchor.ms + coalesce(visit.left_monotonic_ms, capture.last_monotonic_ms))) AS to_ms,
    meeta.length_ms(meeta.blind_spans(capture, '{everything}') * meeta.span(
        meeta.whole(anchor.ms + coalesce(visit.joined_monotonic_ms, visit.left_monotonic_ms)),
        meeta.whole(anchor.ms + coalesce(visit.left_monotonic_ms, capture.last_monotonic_ms)))) AS unseen_ms
FROM meeta.visits AS visit
JOIN meeta.captures AS capture ON capture.capture_id = visit.capture_id
CROSS JOIN LATERAL (
    SELECT coalesce(
        trunc(extract(epoch FROM capture.started_at) * 1000),
        trunc(extract(epoch FROM capture.last_at) * 1000) - capture.last_monotonic_ms) AS ms) AS anchor
CROSS JOIN LATERAL (
    SELECT
        visit.inferred AND meeta.was_inferred(visit.capture_id, visit.joined_seq, 'participant.joined') AS arrival,
        visit.inferred AND meeta.was_inferred(visit.capture_id, visit.left_seq, 'participant.left') AS departure
) AS found;
COMMENT ON COLUMN meeta.visit_times.seen_until IS
    'Departure; the last moment of the capture while there is none. A departure that was found after a gap counts from '
    'the gap''s beginning, the last moment at which the participant was certainly there.';
COMMENT ON COLUMN meeta.visit_times.duration_ms IS
    'Milliseconds by the monotonic clock, until seen_until. When left_cause is unseen and the same endpoint arrived '
    'again, the most that it can have been.';
COMMENT ON COLUMN meeta.visit_times.duration_is_lower_bound IS
    'Arrival or departure was not seen (it was before or after the capture, or in a gap), so the visit lasted at least '
    'this long. A gap in the middle does not count here: see unseen_ms.';
COMMENT ON COLUMN meeta.visit_times.arrival_seen IS
    'The arrival was seen happening: not found when the capture came, nor after a gap.';
COMMENT ON COLUMN meeta.visit_times.departure_seen IS 'The departure was seen happening: not found after a gap.';
COMMENT ON COLUMN meeta.visit_times.unseen_ms IS
    'How much of duration_ms lies in gaps of this capture in which it saw nothing: the participant was there before '
    'and after, and nobody knows whether in between.';

COMMENT ON COLUMN meeta.visits.left_cause IS
    'left, kicked or replaced; unseen when nobody saw it: not there any more after a gap, or the same endpoint arrived '
    'again.';
COMMENT ON COLUMN meeta.visit_times.left_cause IS
    'left, kicked or replaced; unseen when nobody saw it: not there any more after a gap, or the same endpoint arrived '
    'again.';

-- --- intervals ------------------------------------------------------------------------------------------------------

CREATE FUNCTION meeta.came_back(capture_id uuid, left_seq bigint) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM meeta.events AS event
        WHERE event.capture_id = came_back.capture_id AND event.type = 'conference.joined'
            AND event.seq > left_seq)
$$;
COMMENT ON FUNCTION meeta.came_back(uuid, bigint) IS
    'Was the bot in the room again after this conference.left? Then states go on: what changed meanwhile is inferred.';

CREATE OR REPLACE VIEW meeta.speaking AS
SELECT capture.meeting_id, capture.capture_id, turn.seq, turn.endpoint_id,
    coalesce(visit.person, 'endpoint ' || turn.endpoint_id) AS person, visit.display_name,
    turn.occurred_at AS from_at,
    coalesce(turn.ended_at, capture.last_at) AS to_at,
    meeta.elapsed_ms(turn.monotonic_ms, coalesce(turn.ended_ms, capture.last_monotonic_ms)) AS duration_ms,
    turn.initial OR turn.inferred OR turn.ended_by IS NULL
        OR turn.ended_by IN ('capture.kicked', 'conference.left', 'capture.ended')
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
                AND type IN ('dominant_speaker.changed', 'participant.left', 'capture.kicked', 'conference.left',
                    'capture.ended')
                AND (type <> 'conference.left' OR NOT meeta.came_back(event.capture_id, event.seq))
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
    'leaves, or when the capture no longer sees. A gap within is not taken out: unseen_ms says how long it was.';
COMMENT ON COLUMN meeta.speaking.duration_is_lower_bound IS
    'It had begun before the capture came or in a gap, or went on when the capture no longer saw: it lasted at least '
    'this long.';
COMMENT ON COLUMN meeta.speaking.unseen_ms IS
    'How much of duration_ms lies in gaps of this capture in which it could not hear the bridge.';

CREATE OR REPLACE VIEW meeta.states AS
SELECT capture.meeting_id, capture.capture_id, state.seq, state.type, state.endpoint_id,
    coalesce(visit.person, 'endpoint ' || state.endpoint_id) AS person, visit.display_name,
    state.occurred_at AS from_at,
    coalesce(state.ended_at, capture.last_at) AS to_at,
    meeta.elapsed_ms(state.monotonic_ms, coalesce(state.ended_ms, capture.last_monotonic_ms)) AS duration_ms,
    state.initial OR state.inferred OR state.ended_by IS NULL
        OR state.ended_by IN ('capture.kicked', 'conference.left', 'capture.ended')
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
        -- Who leaves ends all of their own; when the bot goes, it is everybody's that it no longer sees.
        SELECT topic, seen.endpoint_id, seq, type, occurred_at, monotonic_ms, initial, inferred
        FROM meeta.events AS event
        JOIN (SELECT DISTINCT endpoint_id FROM meeta.visits AS visit
              WHERE visit.capture_id = capture.capture_id) AS seen
            ON type <> 'participant.left' OR seen.endpoint_id = event.endpoint_id
        CROSS JOIN unnest(ARRAY['audio', 'video', 'screen_share', 'hand']) AS topic
        WHERE event.capture_id = capture.capture_id
            AND type IN ('participant.left', 'capture.kicked', 'conference.left', 'capture.ended')
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
COMMENT ON COLUMN meeta.states.duration_is_lower_bound IS
    'It was so before the capture came or came about in a gap, or was still so when the capture no longer saw: it '
    'lasted at least this long.';
COMMENT ON COLUMN meeta.states.unseen_ms IS
    'How much of duration_ms lies in gaps of this capture in which it saw nothing.';

-- --- people ---------------------------------------------------------------------------------------------------------

-- A function's result can't grow. The view lets go of it without being dropped, so that whoever may read it still may.
CREATE OR REPLACE VIEW meeta.participants AS
SELECT NULL::uuid AS meeting_id, NULL::uuid[] AS capture_ids, NULL::text AS person, NULL::text AS display_name,
    NULL::text AS kind, NULL::text AS user_id, NULL::text[] AS endpoint_ids, NULL::timestamptz AS first_joined_at,
    NULL::timestamptz AS last_seen_at, NULL::boolean AS present, NULL::bigint AS visits, NULL::bigint AS duration_ms,
    NULL::boolean AS duration_is_lower_bound;
DROP FUNCTION meeta.participants_of(uuid[]);

CREATE FUNCTION meeta.participants_of(capture_ids uuid[]) RETURNS TABLE (
    person text, display_name text, kind text, user_id text, endpoint_ids text[], first_joined_at timestamptz,
    last_seen_at timestamptz, present boolean, visits bigint, duration_ms bigint, duration_is_lower_bound boolean,
    arrivals_seen boolean, departures_seen boolean, unseen_ms bigint)
LANGUAGE sql STABLE AS $$
    -- Two witnesses of the same minutes, or one person with two devices, count those minutes once: visits that
    -- overlap are one span, known at both ends if a visit that begins or ends it is. A minute was seen if any of the
    -- witnesses who tell of it was not blind.
    WITH blind AS MATERIALIZED (
        SELECT capture_id, meeta.blind_spans(capture, '{everything}') AS spans
        FROM meeta.captures AS capture
        WHERE capture_id = ANY (capture_ids)
    ), visit AS (
        SELECT visit_times.*, count(*) OVER (PARTITION BY person, capture_id) AS seen_by_capture,
            meeta.span(from_ms, to_ms) - blind.spans AS seen_spans,
            coalesce(from_ms > max(to_ms) OVER (PARTITION BY person ORDER BY from_ms, to_ms, capture_id, joined_seq
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS begins_span
        FROM meeta.visit_times
        JOIN blind USING (capture_id)
    ), placed AS (
        SELECT visit.*, count(*) FILTER (WHERE begins_span)
            OVER (PARTITION BY person ORDER BY from_ms, to_ms, capture_id, joined_seq) AS span
        FROM visit
    ), bounded AS (
        SELECT placed.*, min(from_ms) OVER span AS span_from, max(to_ms) OVER span AS span_to
        FROM placed
        WINDOW span AS (PARTITION BY person, span)
    ), judged AS (
        SELECT bounded.*,
            bool_or(arrival_seen AND from_ms = span_from) OVER span AS beginning_seen,
            bool_or(departure_seen AND to_ms = span_to) OVER span AS end_seen
        FROM bounded
        WINDOW span AS (PARTITION BY person, span)
    )
    SELECT person,
        (array_agg(judged.display_name ORDER BY from_ms DESC, capture_id, joined_seq DESC)
            FILTER (WHERE judged.display_name IS NOT NULL))[1],
        (array_agg(judged.kind ORDER BY from_ms DESC, capture_id, joined_seq DESC)
            FILTER (WHERE judged.kind IS NOT NULL))[1],
        max(judged.user_id),
        array_agg(DISTINCT judged.endpoint_id ORDER BY judged.endpoint_id),
        min(judged.joined_at), max(judged.seen_until), bool_or(judged.present), max(seen_by_capture),
        meeta.whole(sum(span_to - span_from) FILTER (WHERE begins_span)),
        NOT bool_and(beginning_seen AND end_seen),
        bool_and(beginning_seen), bool_and(end_seen),
        meeta.length_ms(range_agg(meeta.span(from_ms, to_ms)) - range_agg(seen_spans))
    FROM judged
    GROUP BY person
$$;
COMMENT ON FUNCTION meeta.participants_of(uuid[]) IS
    'The people that some captures of one meeting saw. duration_ms is the time in the room, simultaneous visits '
    'counted once; visits is the number that the capture which saw most of them saw.';

CREATE OR REPLACE VIEW meeta.participants AS
SELECT scope.meeting_id, scope.capture_ids, participant.*
FROM (SELECT meeting_id, array_agg(capture_id ORDER BY capture_id) AS capture_ids
      FROM meeta.captures GROUP BY meeting_id, CASE WHEN meeting_id IS NULL THEN capture_id END) AS scope
CROSS JOIN LATERAL meeta.participants_of(scope.capture_ids) AS participant;
COMMENT ON COLUMN meeta.participants.duration_is_lower_bound IS
    'An arrival or departure was seen by no capture: before or after all of them, or in a gap.';
COMMENT ON COLUMN meeta.participants.arrivals_seen IS 'Some capture saw every arrival happen.';
COMMENT ON COLUMN meeta.participants.departures_seen IS 'Some capture saw every departure happen.';
COMMENT ON COLUMN meeta.participants.unseen_ms IS
    'How much of duration_ms nobody saw: every capture that tells of it was blind then.';

-- --- the story ------------------------------------------------------------------------------------------------------

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
WHERE event.type NOT IN ('capture.hook_installed', 'capture.heartbeat', 'capture.join_in_progress',
    'conference.properties_changed', 'conference.p2p_changed', 'connection.established', 'connection.disconnected',
    'connection.stats_updated', 'bridge_channel.opened', 'media.connected', 'meeting.identified', 'message.endpoint',
    'participant.property_changed', 'recording.pending', 'track.added', 'track.removed', 'unknown')
    -- One line an outage: the tries after the first one are details.
    AND (event.type <> 'capture.reconnecting' OR coalesce(event.payload->'attempt' <= '1', true));
COMMENT ON VIEW meeta.timeline IS
    'What happened, gaps and outages of the recorder included, without the technical details that `meeta-bot timeline` '
    'leaves out too (meeta.events has them). Per capture: a meeting with two captures tells most things twice. Order '
    'by capture_id, seq.';
COMMENT ON COLUMN meeta.timeline.monotonic_ms IS
    'Milliseconds since the capture began, by a clock that never jumps; differs between captures. A departure that was '
    'found after a gap has the gap''s beginning.';
