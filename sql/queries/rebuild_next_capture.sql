-- The smallest capture_id after one; the primary keys of the partitions answer without reading the events.
SELECT capture_id FROM meeta.events WHERE capture_id > $1 ORDER BY capture_id LIMIT 1
