SELECT capture_id::text, seq, cause, lost, from_at, to_at, evidence, missed, from_ms, to_ms
FROM meeta.gaps
WHERE gaps.capture_id = ANY ($1::uuid[])
ORDER BY gaps.capture_id, seq
