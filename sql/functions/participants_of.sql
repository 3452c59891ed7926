-- after: functions/blind_spans, functions/length_ms, functions/span, functions/whole, views/visit_times

CREATE OR REPLACE FUNCTION meeta.participants_of(capture_ids uuid[]) RETURNS TABLE (
    person text, display_name text, kind text, user_id text, endpoint_ids text[], first_joined_at timestamptz,
    last_seen_at timestamptz, present boolean, visits bigint, duration_ms bigint, duration_is_lower_bound boolean,
    arrivals_seen boolean, departures_seen boolean, unseen_ms bigint, known_by text)
LANGUAGE sql STABLE AS $$
    -- Two witnesses of the same minutes, or one person in two tabs, count those minutes once: visits that
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
        meeta.length_ms(range_agg(meeta.span(from_ms, to_ms)) - range_agg(seen_spans)),
        min(judged.known_by)
    FROM judged
    GROUP BY person
$$;
COMMENT ON FUNCTION meeta.participants_of(uuid[]) IS
    'The people that some captures of one meeting saw. duration_ms is the time in the room, simultaneous visits '
    'counted once; visits is the number that the capture which saw most of them saw.';
