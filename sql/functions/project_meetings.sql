CREATE OR REPLACE FUNCTION meeta.project_meetings(meeting_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one uuid;
BEGIN
    -- Captures of one meeting may be written by several processes at once. Whoever holds the lock sees, in a fresh
    -- snapshot, what the others have committed; sorted, so that two of them can't wait for each other.
    FOR one IN SELECT DISTINCT meeting FROM unnest(meeting_ids) AS meeting ORDER BY meeting LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('meeta.meeting.' || one::text, 0));
    END LOOP;
    DELETE FROM meeta.meetings
    WHERE meeting_id = ANY (meeting_ids)
        AND NOT EXISTS (SELECT FROM meeta.captures WHERE captures.meeting_id = meetings.meeting_id);
    INSERT INTO meeta.meetings AS known
    SELECT meeting_id,
        (array_agg(deployment ORDER BY started_at, capture_id) FILTER (WHERE deployment IS NOT NULL))[1],
        (array_agg(room ORDER BY started_at, capture_id) FILTER (WHERE room IS NOT NULL))[1],
        (array_agg(server_meeting_id ORDER BY started_at, capture_id)
            FILTER (WHERE server_meeting_id IS NOT NULL))[1],
        min(meeting_created_at),
        min(meeting_started_at),
        max(meeting_ended_at),
        (array_agg(meeting_end_reason ORDER BY meeting_ended_at DESC, capture_id)
            FILTER (WHERE meeting_ended_at IS NOT NULL))[1],
        (array_agg(subject ORDER BY started_at DESC, capture_id DESC) FILTER (WHERE subject IS NOT NULL))[1],
        (array_agg(host_endpoint_id ORDER BY started_at, capture_id) FILTER (WHERE host_endpoint_id IS NOT NULL))[1],
        (array_agg(host_name ORDER BY started_at, capture_id) FILTER (WHERE host_endpoint_id IS NOT NULL))[1],
        min(started_at),
        count(*)
    FROM meeta.captures
    WHERE meeting_id = ANY (meeting_ids)
    GROUP BY meeting_id
    ON CONFLICT (meeting_id) DO UPDATE SET
        deployment = excluded.deployment, room = excluded.room, server_meeting_id = excluded.server_meeting_id,
        created_at = excluded.created_at, started_at = excluded.started_at, ended_at = excluded.ended_at,
        end_reason = excluded.end_reason, subject = excluded.subject,
        host_endpoint_id = excluded.host_endpoint_id, host_name = excluded.host_name,
        captured_at = excluded.captured_at, capture_count = excluded.capture_count;
END
$$;
COMMENT ON FUNCTION meeta.project_meetings(uuid[]) IS 'Recomputes meetings from their captures; one without goes.';
