-- One batch; times are milliseconds since 1970. Returns what was new.
INSERT INTO meeta.events (
    capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial, inferred,
    payload, salt, commitment, digest, quarantine_reason)
SELECT capture_id, seq, type, origin, room, endpoint_id, meeta.moment(occurred_at::numeric), monotonic_ms,
    meeta.moment(server_at::numeric), initial, inferred, payload, salt, commitment, digest, quarantine_reason
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::boolean[], $11::boolean[], $12::jsonb[], $13::bytea[], $14::bytea[], $15::bytea[], $16::text[])
    AS row (capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial, inferred,
        payload, salt, commitment, digest, quarantine_reason)
ON CONFLICT (capture_id, seq) DO NOTHING
RETURNING capture_id, seq
