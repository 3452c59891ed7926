-- $1 capture ids, $2 types or null, $3 endpoint or null, $4 and $5 the capture id and seq to go on after, $6 limit
SELECT capture_id::text, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial,
    inferred, payload, salt, commitment, digest, quarantine_reason
FROM meeta.events
WHERE events.capture_id = ANY ($1::uuid[])
    AND ($2::text[] IS NULL OR type = ANY ($2))
    AND ($3::text IS NULL OR endpoint_id = $3)
    AND (events.capture_id, seq) > ($4::uuid, $5::bigint)
ORDER BY events.capture_id, seq
LIMIT $6
