-- after: functions/elapsed_ms

CREATE OR REPLACE FUNCTION meeta.visits_of(capture_ids uuid[], endpoint_ids text[]) RETURNS SETOF meeta.visits
LANGUAGE sql STABLE AS $$
    -- One look into events_by_endpoint, then windows and no joins: the time is linear whatever the planner expects.
    WITH told AS (
        SELECT event.capture_id, event.room, event.endpoint_id, event.seq, event.type, event.occurred_at,
            event.monotonic_ms, event.initial, event.inferred, event.payload,
            event.type IN ('participant.joined', 'participant.renamed') AND event.payload IS NOT NULL AS names,
            CASE event.type WHEN 'participant.joined' THEN event.payload->>'display_name'
                ELSE event.payload->>'new_name' END AS display_name,
            event.type IN ('participant.joined', 'participant.role_changed') AND event.payload IS NOT NULL AS ranks,
            event.payload->>'role' AS role,
            coalesce(
                max(event.seq) FILTER (WHERE event.type = 'participant.joined') OVER before
                > coalesce(max(event.seq) FILTER (WHERE event.type = 'participant.left') OVER before,
                    -9223372036854775808),
                false) AS is_there
        FROM unnest(capture_ids, endpoint_ids) AS wanted (capture_id, endpoint_id)
        JOIN meeta.events AS event ON event.capture_id = wanted.capture_id
            AND event.endpoint_id = wanted.endpoint_id
            AND event.type IN ('participant.joined', 'participant.left', 'participant.renamed',
                'participant.role_changed')
        WINDOW before AS (PARTITION BY event.capture_id, event.room, event.endpoint_id ORDER BY event.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), numbered AS (
        SELECT told.*, opens,
            count(*) FILTER (WHERE opens) OVER (PARTITION BY capture_id, room, endpoint_id ORDER BY seq) AS number
        FROM told
        CROSS JOIN LATERAL (SELECT type = 'participant.joined' OR (type = 'participant.left' AND NOT is_there))
            AS opening (opens)
        WHERE opens OR is_there
    ), visit AS (
        SELECT capture_id, room, endpoint_id, number,
            bool_or(type = 'participant.joined') AS has_arrival,
            min(seq) AS opened_seq,
            (array_agg(occurred_at) FILTER (WHERE opens))[1] AS opened_at,
            (array_agg(monotonic_ms) FILTER (WHERE opens))[1] AS opened_monotonic_ms,
            bool_or(initial) FILTER (WHERE opens) AS initial,
            bool_or(inferred) FILTER (WHERE opens OR type = 'participant.left') AS inferred,
            (array_agg(payload) FILTER (WHERE type = 'participant.joined'))[1] AS arrival,
            (array_agg(display_name ORDER BY seq DESC) FILTER (WHERE names))[1] AS display_name,
            (array_agg(role ORDER BY seq DESC) FILTER (WHERE ranks))[1] AS role,
            min(seq) FILTER (WHERE ranks AND role = 'moderator') AS moderator_seq,
            max(seq) FILTER (WHERE type = 'participant.left') AS left_seq,
            (array_agg(occurred_at) FILTER (WHERE type = 'participant.left'))[1] AS left_at,
            (array_agg(monotonic_ms) FILTER (WHERE type = 'participant.left'))[1] AS left_monotonic_ms,
            (array_agg(payload) FILTER (WHERE type = 'participant.left'))[1] AS departure
        FROM numbered
        GROUP BY capture_id, room, endpoint_id, number
    ), closed AS (
        -- Without a departure, the next arrival of the same endpoint ends a visit.
        SELECT visit.*, left_seq IS NULL AND lead(opened_seq) OVER next IS NOT NULL AS is_unseen,
            coalesce(left_seq, lead(opened_seq) OVER next) AS closed_seq,
            CASE WHEN left_seq IS NULL THEN lead(opened_at) OVER next ELSE left_at END AS closed_at,
            CASE WHEN left_seq IS NULL THEN lead(opened_monotonic_ms) OVER next ELSE left_monotonic_ms END
                AS closed_monotonic_ms
        FROM visit
        WINDOW next AS (PARTITION BY capture_id, room, endpoint_id ORDER BY number)
    )
    SELECT capture_id, opened_seq, room, endpoint_id,
        CASE WHEN has_arrival THEN opened_at END, CASE WHEN has_arrival THEN opened_monotonic_ms END,
        initial, inferred, display_name, arrival->>'kind', role, moderator_seq, arrival->>'stats_id',
        arrival->>'user_id', closed_seq, closed_at, closed_monotonic_ms,
        CASE WHEN is_unseen THEN 'unseen' ELSE departure->>'cause' END, departure->>'reason',
        CASE WHEN has_arrival THEN meeta.elapsed_ms(opened_monotonic_ms, closed_monotonic_ms) END
    FROM closed
$$;
COMMENT ON FUNCTION meeta.visits_of(uuid[], text[]) IS 'The visits of some endpoints, computed from meeta.events.';
