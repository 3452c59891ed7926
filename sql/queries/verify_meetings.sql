-- Meetings that no capture names.
SELECT meeting_id::text, room
FROM meeta.meetings AS meeting
WHERE NOT EXISTS (SELECT FROM meeta.captures WHERE captures.meeting_id = meeting.meeting_id)
ORDER BY meeting_id
