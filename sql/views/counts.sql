CREATE OR REPLACE VIEW meeta.counts AS
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
