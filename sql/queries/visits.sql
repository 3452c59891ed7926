SELECT capture_id::text, joined_seq, room, endpoint_id, person, display_name, kind, role, user_id, stats_id,
    joined_at, initial, inferred, left_at, left_cause, left_reason, seen_until, present, duration_ms,
    duration_is_lower_bound, arrival_seen, departure_seen, unseen_ms
FROM meeta.visit_times
WHERE visit_times.capture_id = ANY ($1::uuid[])
ORDER BY visit_times.capture_id, joined_seq
