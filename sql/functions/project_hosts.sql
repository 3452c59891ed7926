CREATE OR REPLACE FUNCTION meeta.project_hosts(touched uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
        UPDATE meeta.captures AS capture SET host_endpoint_id = host.endpoint_id, host_name = host.display_name
        FROM (SELECT DISTINCT capture_id FROM unnest(touched) AS capture_id) AS wanted
        LEFT JOIN LATERAL (SELECT visit.endpoint_id, visit.display_name FROM meeta.visits AS visit
            WHERE visit.capture_id = wanted.capture_id AND visit.kind = 'human' AND visit.moderator_seq IS NOT NULL
            ORDER BY visit.moderator_seq LIMIT 1) AS host ON true
        WHERE capture.capture_id = wanted.capture_id
            AND (capture.host_endpoint_id IS DISTINCT FROM host.endpoint_id
                OR capture.host_name IS DISTINCT FROM host.display_name)
        RETURNING capture.meeting_id;
END
$$;
COMMENT ON FUNCTION meeta.project_hosts(uuid[]) IS
    'Finds the hosts of captures in their visits anew; returns the meetings of those that have another now, or null.';
