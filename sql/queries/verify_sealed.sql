-- An event that was refused, as it came.
SELECT reason, sealed
FROM meeta.quarantine
WHERE capture_id = $1::text AND seq = $2::bigint AND kind = 'refused' AND digest = $3::bytea
