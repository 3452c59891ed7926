-- What the recorder of a capture said of itself, in order, and where something was kept raw (without its payload).
SELECT seq, type, occurred_at, monotonic_ms, CASE WHEN type <> 'unknown' THEN payload END AS payload
FROM meeta.events
WHERE capture_id = $1::uuid
    AND type IN ('capture.started', 'capture.hook_installed', 'capture.heartbeat', 'capture.gap',
        'capture.reconnecting', 'signalling.lost', 'capture.ended', 'unknown')
ORDER BY seq
