-- What waits in quarantine of a capture: events that differ from what is stored under their number, all that were
-- refused, and the first refused one whose place in events is empty or not marked as a placeholder.
-- $1 capture id as text, $2 the same as UUID; null when it is none
SELECT count(*) FILTER (WHERE kind = 'conflict' OR event.digest <> held.digest) AS conflicts,
    count(*) FILTER (WHERE kind = 'refused') AS refused,
    min(held.seq) FILTER (WHERE kind = 'refused'
        AND (event.seq IS NULL OR (event.digest = held.digest AND event.quarantine_reason IS NULL))) AS unmarked_seq,
    min(held.reason) FILTER (WHERE kind = 'refused') AS a_reason
FROM meeta.quarantine AS held
LEFT JOIN meeta.events AS event ON event.capture_id = $2::uuid AND event.seq = held.seq
WHERE held.capture_id = $1::text
