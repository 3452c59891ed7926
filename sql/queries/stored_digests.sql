SELECT capture_id, seq, digest
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (capture_id, seq)
JOIN meeta.events USING (capture_id, seq)
