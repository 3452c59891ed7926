-- How events get into the database.

-- name: store
-- Store one batch, in one transaction of its own unless one is open: how many were new, and which, unless all were.
-- $1 rows as meeta.incoming
SELECT stored, fresh_capture_ids::text[], fresh_seqs FROM meeta.store($1::meeta.incoming[]);

-- name: project
-- Bring the derived tables up to date with events that were copied in, in the same transaction.
-- $1 capture ids, $2 seqs and $3 types, one of each for every event
SELECT meeta.project($1::uuid[], $2::bigint[], $3::text[]);

-- name: ensure_partition_of
-- Make sure that events of a capture have a partition; false when they can't have one.
-- $1 capture id
SELECT meeta.ensure_partition_of($1::uuid);

-- name: stored_digests
-- Digests of events that are there already, to tell the same event from another one under its number.
-- $1 capture ids and $2 seqs, one of each for every event
SELECT capture_id, seq, digest
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (capture_id, seq)
JOIN meeta.events USING (capture_id, seq);

-- name: quarantine
-- Keep what could not be stored as it came.
-- $1 capture id as text, $2 seq, $3 kind, $4 digest, $5 reason, $6 the sealed event
INSERT INTO meeta.quarantine (capture_id, seq, kind, digest, reason, sealed)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (capture_id, seq, kind, digest) DO NOTHING;
