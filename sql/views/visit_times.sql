-- after: functions/blind_spans, functions/elapsed_ms, functions/length_ms, functions/span, functions/was_inferred
-- after: functions/is_shared_user_id, functions/moment, functions/whole
--
-- Inferred visits are few, so which of their ends was inferred is looked up instead of stored.

CREATE OR REPLACE VIEW meeta.visit_times AS
SELECT visit.capture_id, capture.meeting_id, visit.joined_seq, visit.room, visit.endpoint_id,
    CASE evidence.known_by
        WHEN 'user id' THEN 'user ' || visit.user_id
        WHEN 'browser and name' THEN 'browser ' || visit.stats_id || ' ' || coalesce(visit.display_name, '')
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
        meeta.whole(anchor.ms + coalesce(visit.left_monotonic_ms, capture.last_monotonic_ms)))) AS unseen_ms,
    CASE visit.left_cause WHEN 'lost' THEN coalesce((
        SELECT meeta.moment(event.payload->'last_heard_at') FROM meeta.events AS event
        WHERE event.capture_id = visit.capture_id AND event.seq = visit.left_seq), visit.joined_at)
        ELSE visit.left_at END AS left_after,
    evidence.known_by
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
) AS found
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN visit.user_id <> '' AND NOT meeta.is_shared_user_id(capture, visit.user_id) THEN 'user id'
        WHEN visit.stats_id <> '' THEN 'browser and name'
        ELSE 'endpoint' END AS known_by
) AS evidence;
COMMENT ON VIEW meeta.visit_times IS
    'Visits with an end: one that is open counts until its capture last saw anything, and is flagged.';
COMMENT ON COLUMN meeta.visit_times.capture_id IS 'Which capture saw it.';
COMMENT ON COLUMN meeta.visit_times.meeting_id IS 'The meeting; null while the capture belongs to none.';
COMMENT ON COLUMN meeta.visit_times.joined_seq IS
    'Number of the participant.joined; of the participant.left when the arrival was never seen.';
COMMENT ON COLUMN meeta.visit_times.room IS 'main, or the id of a breakout room.';
COMMENT ON COLUMN meeta.visit_times.endpoint_id IS 'The participant''s endpoint; the same in all captures.';
COMMENT ON COLUMN meeta.visit_times.person IS
    'Who it is, as well as that is known: by the evidence that known_by names.';
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
    'left, kicked, replaced or lost (the server gave the connection up); unseen when nobody saw it: not there any more after a gap, or the same endpoint arrived '
    'again.';
COMMENT ON COLUMN meeta.visit_times.left_reason IS 'What the server or the participant said.';
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
COMMENT ON COLUMN meeta.visit_times.present IS 'Still there, as far as this capture, which goes on, knows.';
COMMENT ON COLUMN meeta.visit_times.from_ms IS
    'Beginning on an axis that captures share: wall clock of the capture''s start plus its monotonic clock.';
COMMENT ON COLUMN meeta.visit_times.to_ms IS 'End on that axis.';
COMMENT ON COLUMN meeta.visit_times.unseen_ms IS
    'How much of duration_ms lies in gaps of this capture in which it saw nothing: the participant was there before '
    'and after, and nobody knows whether in between.';
COMMENT ON COLUMN meeta.visit_times.left_after IS
    'The departure lies between this and left_at. The same as left_at but for who was lost: when anything was last heard '
    'of them, while duration_ms, until left_at, is the most that it can have been.';
COMMENT ON COLUMN meeta.visit_times.known_by IS
    'The evidence that puts visits together: user id (of the token), unless two people were there at once under it in '
    'different browsers; else browser and name; else the endpoint alone.';
