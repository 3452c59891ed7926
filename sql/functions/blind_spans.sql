-- after: functions/shared_ms, functions/span

CREATE OR REPLACE FUNCTION meeta.blind_spans(capture meeta.captures, losses text[]) RETURNS int8multirange
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
