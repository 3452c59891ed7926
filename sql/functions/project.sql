CREATE OR REPLACE FUNCTION meeta.project(capture_ids uuid[], seqs bigint[], types text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moved_captures uuid[];
    moved_seqs bigint[];
    gap_captures uuid[];
    gap_seqs bigint[];
    changed_captures uuid[];
    changed_meetings uuid[];
    next_captures uuid[];
    next_seqs bigint[];
    other_captures uuid[];
    other_seqs bigint[];
BEGIN
    SELECT array_agg(capture_id) FILTER (WHERE moves), array_agg(seq) FILTER (WHERE moves),
        array_agg(capture_id) FILTER (WHERE type = 'capture.gap'), array_agg(seq) FILTER (WHERE type = 'capture.gap'),
        array_agg(DISTINCT capture_id) FILTER (WHERE type IN (
            'capture.started', 'capture.hook_installed', 'capture.ended', 'conference.joined',
            'conference.subject_changed', 'meeting.identified', 'meeting.started', 'meeting.ended'))
    INTO moved_captures, moved_seqs, gap_captures, gap_seqs, changed_captures
    FROM (SELECT capture_id, seq, type, type IN ('participant.joined', 'participant.left', 'participant.renamed',
              'participant.role_changed') AS moves
          FROM unnest(capture_ids, seqs, types) AS row (capture_id, seq, type)) AS fresh;

    PERFORM meeta.project_heads(capture_ids, seqs, types);
    IF gap_captures IS NOT NULL THEN
        PERFORM meeta.project_gaps(gap_captures, gap_seqs);
    END IF;
    IF moved_captures IS NOT NULL THEN
        -- A capture that has all its numbers so far, and the newest of them without a break from here: nothing else of
        -- it lies behind the first of these events. Its row is locked by now, so that this stays true.
        SELECT array_agg(moved.capture_id) FILTER (WHERE is_next), array_agg(moved.seq) FILTER (WHERE is_next),
            array_agg(moved.capture_id) FILTER (WHERE NOT is_next), array_agg(moved.seq) FILTER (WHERE NOT is_next)
        INTO next_captures, next_seqs, other_captures, other_seqs
        FROM (SELECT fresh.capture_id, capture.event_count = capture.last_seq AND fresh.last = capture.last_seq
                  AND fresh.first = fresh.last - fresh.event_count + 1 AS is_next
              FROM (SELECT capture_id, min(seq) AS first, max(seq) AS last, count(*) AS event_count
                    FROM unnest(capture_ids, seqs) AS row (capture_id, seq) GROUP BY capture_id) AS fresh
              JOIN meeta.captures AS capture ON capture.capture_id = fresh.capture_id) AS touched
        JOIN unnest(moved_captures, moved_seqs) AS moved (capture_id, seq) ON moved.capture_id = touched.capture_id;
        IF next_captures IS NOT NULL THEN
            PERFORM meeta.advance_visits(next_captures, next_seqs);
        END IF;
        IF other_captures IS NOT NULL THEN
            PERFORM meeta.project_visits(other_captures, other_seqs);
        END IF;
        SELECT array_agg(meeting) FILTER (WHERE meeting IS NOT NULL) INTO changed_meetings
        FROM meeta.project_hosts(moved_captures) AS meeting;
    END IF;
    IF changed_captures IS NOT NULL THEN
        changed_meetings := changed_meetings || ARRAY(SELECT meeta.project_facts(changed_captures));
    END IF;
    IF changed_meetings <> '{}' THEN
        PERFORM meeta.project_meetings(changed_meetings);
    END IF;
END
$$;
COMMENT ON FUNCTION meeta.project(uuid[], bigint[], text[]) IS
    'Brings the derived tables up to date with events that are new: capture_id, seq and type of each, in the '
    'transaction that inserted them. Each event exactly once, or event_count is wrong.';
