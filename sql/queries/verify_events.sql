-- Raw rows of a capture between two numbers, both included. A payload that takes more than $4 bytes where it is stored
-- is fetched by itself.
SELECT seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial, inferred,
    CASE WHEN pg_column_size(payload) <= $4::integer THEN payload END AS payload,
    salt, commitment, digest, quarantine_reason, coalesce(pg_column_size(payload) > $4, false) AS is_large
FROM meeta.events
WHERE capture_id = $1::uuid AND seq BETWEEN $2::bigint AND $3::bigint
ORDER BY seq
