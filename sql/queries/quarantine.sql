SELECT capture_id, seq, kind, digest, reason, sealed
FROM meeta.quarantine
WHERE capture_id = ANY ($1::text[])
ORDER BY capture_id, seq, kind, digest
