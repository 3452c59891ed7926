-- One batch, in one transaction of its own unless one is open.
SELECT stored, fresh_capture_ids::text[], fresh_seqs FROM meeta.store($1::meeta.incoming[])
