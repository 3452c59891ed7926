INSERT INTO meeta.quarantine (capture_id, seq, kind, digest, reason, sealed)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (capture_id, seq, kind, digest) DO NOTHING
