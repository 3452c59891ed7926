-- after: functions/participants_of

CREATE OR REPLACE VIEW meeta.participants AS
SELECT scope.meeting_id, scope.capture_ids, participant.*
FROM (SELECT meeting_id, array_agg(capture_id ORDER BY capture_id) AS capture_ids
      FROM meeta.captures GROUP BY meeting_id, CASE WHEN meeting_id IS NULL THEN capture_id END) AS scope
CROSS JOIN LATERAL meeta.participants_of(scope.capture_ids) AS participant;
COMMENT ON VIEW meeta.participants IS
    'A person in a meeting, all visits together, from all captures of the meeting without counting a minute twice. '
    'Captures that belong to no meeting stand for themselves (meeting_id is null).';
COMMENT ON COLUMN meeta.participants.meeting_id IS 'The meeting; null for a capture that belongs to none.';
COMMENT ON COLUMN meeta.participants.capture_ids IS 'The captures that this comes from.';
COMMENT ON COLUMN meeta.participants.person IS 'Who it is, by the evidence that known_by names.';
COMMENT ON COLUMN meeta.participants.display_name IS 'The latest.';
COMMENT ON COLUMN meeta.participants.kind IS 'human, phone, recorder, transcriber, bot or hidden.';
COMMENT ON COLUMN meeta.participants.user_id IS 'Who it is by the token; null without one.';
COMMENT ON COLUMN meeta.participants.endpoint_ids IS 'All endpoints of that person.';
COMMENT ON COLUMN meeta.participants.first_joined_at IS 'First arrival; null when it was never seen.';
COMMENT ON COLUMN meeta.participants.last_seen_at IS 'Last departure, or the last moment of a capture that saw none.';
COMMENT ON COLUMN meeta.participants.present IS 'Still there, as far as a running capture knows.';
COMMENT ON COLUMN meeta.participants.visits IS 'How often; of the capture that saw most.';
COMMENT ON COLUMN meeta.participants.duration_ms IS 'Time in the room in milliseconds, overlapping visits once.';
COMMENT ON COLUMN meeta.participants.duration_is_lower_bound IS
    'An arrival or departure was seen by no capture: before or after all of them, or in a gap.';
COMMENT ON COLUMN meeta.participants.arrivals_seen IS 'Some capture saw every arrival happen.';
COMMENT ON COLUMN meeta.participants.departures_seen IS 'Some capture saw every departure happen.';
COMMENT ON COLUMN meeta.participants.unseen_ms IS
    'How much of duration_ms nobody saw: every capture that tells of it was blind then.';
COMMENT ON COLUMN meeta.participants.known_by IS
    'The evidence that puts the visits together: user id, browser and name, or endpoint; see meeta.visit_times.';
