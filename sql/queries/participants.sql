SELECT person, display_name, kind, user_id, endpoint_ids, first_joined_at, last_seen_at, present, visits,
    duration_ms, duration_is_lower_bound, arrivals_seen, departures_seen, unseen_ms
FROM meeta.participants_of($1::uuid[])
ORDER BY first_joined_at NULLS FIRST, person
