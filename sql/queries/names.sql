-- Every display name that the endpoints of some captures ever had. Upper and lower case is the caller's matter:
-- in a database with the locale C, lower() knows ASCII only.
SELECT DISTINCT endpoint_id, name
FROM meeta.events
CROSS JOIN LATERAL (VALUES (payload->>'display_name'), (payload->>'old_name'), (payload->>'new_name')) AS said (name)
WHERE capture_id = ANY ($1::uuid[])
    AND type IN ('participant.joined', 'participant.renamed')
    AND endpoint_id IS NOT NULL
    AND name IS NOT NULL
