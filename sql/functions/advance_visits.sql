CREATE OR REPLACE FUNCTION meeta.advance_visits(capture_ids uuid[], seqs bigint[]) RETURNS void
LANGUAGE plpgsql
-- As meeta.project_heads: planning would cost more than running, and every look-up here has one index that fits.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    -- As meeta.visits_of, but an open visit stands for all that was told before: it is read as one arrival.
    WITH fresh AS MATERIALIZED (
        SELECT event.*
        FROM unnest(capture_ids, seqs) AS new (capture_id, seq)
        CROSS JOIN LATERAL (SELECT * FROM meeta.events AS one
            WHERE one.capture_id = new.capture_id AND one.seq >= new.seq ORDER BY one.seq LIMIT 1) AS event
    ), told AS (
        SELECT capture_id, room, endpoint_id, seq, type = 'participant.joined' AS arrives,
            type = 'participant.left' AS leaves, occurred_at, monotonic_ms, initial, inferred,
            type IN ('participant.joined', 'participant.renamed') AND payload IS NOT NULL AS names,
            CASE type WHEN 'participant.joined' THEN payload->>'display_name' ELSE payload->>'new_name' END
                AS display_name,
            type IN ('participant.joined', 'participant.role_changed') AND payload IS NOT NULL AS ranks,
            payload->>'role' AS role,
            CASE WHEN type IN ('participant.joined', 'participant.role_changed') AND payload->>'role' = 'moderator'
                THEN seq END AS moderator_seq,
            payload->>'kind' AS kind, payload->>'stats_id' AS stats_id, payload->>'user_id' AS user_id,
            payload->>'cause' AS cause, payload->>'reason' AS reason
        FROM fresh
        WHERE endpoint_id IS NOT NULL
        UNION ALL
        SELECT open.capture_id, open.room, open.endpoint_id, open.joined_seq, true, false, open.joined_at,
            open.joined_monotonic_ms, open.initial, open.inferred, true, open.display_name, true, open.role,
            open.moderator_seq, open.kind, open.stats_id, open.user_id, NULL, NULL
        FROM (SELECT DISTINCT capture_id, endpoint_id FROM fresh WHERE endpoint_id IS NOT NULL) AS touched
        CROSS JOIN LATERAL (SELECT * FROM meeta.visits AS visit
            WHERE visit.capture_id = touched.capture_id AND visit.endpoint_id = touched.endpoint_id
                AND visit.left_seq IS NULL
            OFFSET 0) AS open  -- looked up for each; never joined with all that are open
    ), placed AS (
        SELECT told.*,
            coalesce(max(seq) FILTER (WHERE arrives) OVER before
                > coalesce(max(seq) FILTER (WHERE leaves) OVER before, -9223372036854775808), false) AS is_there
        FROM told
        WINDOW before AS (PARTITION BY capture_id, room, endpoint_id ORDER BY seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), numbered AS (
        SELECT placed.*, arrives OR NOT is_there AS opens,
            count(*) FILTER (WHERE arrives OR NOT is_there)
                OVER (PARTITION BY capture_id, room, endpoint_id ORDER BY seq) AS number
        FROM placed
        WHERE arrives OR leaves OR is_there
    ), visit AS (
        SELECT capture_id, room, endpoint_id, number,
            bool_or(arrives) AS has_arrival,
            min(seq) AS opened_seq,
            (array_agg(occurred_at) FILTER (WHERE opens))[1] AS opened_at,
            (array_agg(monotonic_ms) FILTER (WHERE opens))[1] AS opened_monotonic_ms,
            bool_or(initial) FILTER (WHERE opens) AS initial,
            bool_or(inferred) FILTER (WHERE opens OR leaves) AS inferred,
            (array_agg(display_name ORDER BY seq DESC) FILTER (WHERE names))[1] AS display_name,
            min(kind) FILTER (WHERE arrives) AS kind,
            (array_agg(role ORDER BY seq DESC) FILTER (WHERE ranks))[1] AS role,
            min(moderator_seq) AS moderator_seq,
            min(stats_id) FILTER (WHERE arrives) AS stats_id,
            min(user_id) FILTER (WHERE arrives) AS user_id,
            max(seq) FILTER (WHERE leaves) AS left_seq,
            (array_agg(occurred_at) FILTER (WHERE leaves))[1] AS left_at,
            (array_agg(monotonic_ms) FILTER (WHERE leaves))[1] AS left_monotonic_ms,
            min(cause) FILTER (WHERE leaves) AS left_cause,
            min(reason) FILTER (WHERE leaves) AS left_reason
        FROM numbered
        GROUP BY capture_id, room, endpoint_id, number
    ), closed AS (
        SELECT visit.*, left_seq IS NULL AND lead(opened_seq) OVER next IS NOT NULL AS is_unseen,
            coalesce(left_seq, lead(opened_seq) OVER next) AS closed_seq,
            CASE WHEN left_seq IS NULL THEN lead(opened_at) OVER next ELSE left_at END AS closed_at,
            CASE WHEN left_seq IS NULL THEN lead(opened_monotonic_ms) OVER next ELSE left_monotonic_ms END
                AS closed_monotonic_ms
        FROM visit
        WINDOW next AS (PARTITION BY capture_id, room, endpoint_id ORDER BY number)
    )
    INSERT INTO meeta.visits AS known
    SELECT capture_id, opened_seq, room, endpoint_id,
        CASE WHEN has_arrival THEN opened_at END, CASE WHEN has_arrival THEN opened_monotonic_ms END,
        initial, inferred, display_name, kind, role, moderator_seq, stats_id, user_id,
        closed_seq, closed_at, closed_monotonic_ms,
        CASE WHEN is_unseen THEN 'unseen' ELSE left_cause END, left_reason,
        CASE WHEN has_arrival THEN meeta.elapsed_ms(opened_monotonic_ms, closed_monotonic_ms) END
    FROM closed
    ON CONFLICT (capture_id, joined_seq) DO UPDATE SET
        inferred = excluded.inferred, display_name = excluded.display_name, role = excluded.role,
        moderator_seq = excluded.moderator_seq, left_seq = excluded.left_seq, left_at = excluded.left_at,
        left_monotonic_ms = excluded.left_monotonic_ms, left_cause = excluded.left_cause,
        left_reason = excluded.left_reason, duration_ms = excluded.duration_ms;
END
$$;
COMMENT ON FUNCTION meeta.advance_visits(uuid[], bigint[]) IS
    'Brings visits up to date with events that come after all others of their captures; as meeta.project_visits '
    'would, without reading what was before.';
