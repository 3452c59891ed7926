SELECT type, count(*) AS count
FROM meeta.events
WHERE capture_id = ANY ($1::uuid[])
GROUP BY type
ORDER BY type
