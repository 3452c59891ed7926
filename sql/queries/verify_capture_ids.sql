-- Every capture that anything is stored of, also when its row in captures or its events are gone. Text, because what
-- waits in quarantine may be no UUID.
WITH RECURSIVE seen AS (
    -- From each capture to the next by the primary keys, without reading the events in between.
    (SELECT capture_id FROM meeta.events ORDER BY capture_id LIMIT 1)
    UNION ALL
    SELECT (SELECT event.capture_id FROM meeta.events AS event
            WHERE event.capture_id > seen.capture_id ORDER BY event.capture_id LIMIT 1)
    FROM seen WHERE seen.capture_id IS NOT NULL
)
SELECT capture_id::text AS capture_id FROM seen WHERE capture_id IS NOT NULL
UNION
SELECT capture_id::text FROM meeta.captures
UNION
SELECT capture_id::text FROM meeta.visits
UNION
SELECT capture_id::text FROM meeta.gaps
UNION
SELECT capture_id FROM meeta.quarantine
ORDER BY capture_id
