-- The seq of the last event on a page, null when the page is empty: from an index alone, so that of a participant's
-- thousands of events only those of the page are fetched.
-- $1 capture id, $2 the seq to go on after, $3 the last seq or null, $4 the only type or null, $5 types or null,
-- $6 endpoints or null, $7 limit
SELECT max(seq)
FROM (
    SELECT seq
    FROM meeta.events
    WHERE capture_id = $1::uuid
        AND seq > $2::bigint
        AND ($3::bigint IS NULL OR seq <= $3)
        AND ($4::text IS NULL OR type = $4)
        AND ($5::text[] IS NULL OR type = ANY ($5))
        AND ($6::text[] IS NULL OR endpoint_id = ANY ($6))
    ORDER BY seq
    LIMIT $7
) AS page
