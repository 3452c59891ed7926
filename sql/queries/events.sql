-- One page of a capture's events. All indexes begin with capture_id, and equality leaves one partition to plan for.
-- $1 capture id, $2 the seq to go on after, $3 the last seq or null, $4 the only type or null, $5 types or null,
-- $6 endpoints or null, $7 not before and $8 before that moment or null, $9 limit or null
SELECT capture_id::text, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial,
    inferred, payload, salt, commitment, digest, quarantine_reason
FROM meeta.events
WHERE events.capture_id = $1::uuid
    AND seq > $2::bigint
    AND ($3::bigint IS NULL OR seq <= $3)
    AND ($4::text IS NULL OR type = $4)
    AND ($5::text[] IS NULL OR type = ANY ($5))
    AND ($6::text[] IS NULL OR endpoint_id = ANY ($6))
    AND ($7::timestamptz IS NULL OR occurred_at >= $7)
    AND ($8::timestamptz IS NULL OR occurred_at < $8)
ORDER BY seq
LIMIT $9
