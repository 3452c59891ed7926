-- after: functions/whole

CREATE OR REPLACE FUNCTION meeta.shared_ms(capture meeta.captures, monotonic_ms bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- The same anchor as in meeta.visit_times, so that intervals of both can be compared.
    SELECT meeta.whole(monotonic_ms + coalesce(
        trunc(extract(epoch FROM capture.started_at) * 1000),
        trunc(extract(epoch FROM capture.last_at) * 1000) - capture.last_monotonic_ms))
$$;
COMMENT ON FUNCTION meeta.shared_ms(meeta.captures, bigint) IS
    'A moment of a capture on the axis that captures share: wall clock of its start plus its monotonic clock.';
