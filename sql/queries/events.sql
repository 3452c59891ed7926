-- $1 capture ids, $2 types or null, $3 endpoints or null, $4 not before and $5 before that moment or null,
-- $6 and $7 the capture id and seq to go on after, $8 the last seq or null, $9 limit
SELECT capture_id::text, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial,
    inferred, payload, salt, commitment, digest, quarantine_reason
FROM meeta.events
WHERE events.capture_id = ANY ($1::uuid[])
    AND ($2::text[] IS NULL OR type = ANY ($2))
    AND ($3::text[] IS NULL OR endpoint_id = ANY ($3))
    AND ($4::timestamptz IS NULL OR occurred_at >= $4)
    AND ($5::timestamptz IS NULL OR occurred_at < $5)
    AND (events.capture_id, seq) > ($6::uuid, $7::bigint)
    AND ($8::bigint IS NULL OR seq <= $8)
ORDER BY events.capture_id, seq
LIMIT $9
