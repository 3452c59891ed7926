-- Is anything stored of a capture?
SELECT EXISTS (SELECT FROM meeta.captures WHERE capture_id = $1::uuid)
    OR EXISTS (SELECT FROM meeta.events WHERE capture_id = $1)
    OR EXISTS (SELECT FROM meeta.visits WHERE capture_id = $1)
    OR EXISTS (SELECT FROM meeta.gaps WHERE capture_id = $1)
    OR EXISTS (SELECT FROM meeta.quarantine WHERE capture_id = $1::text)
