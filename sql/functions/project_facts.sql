CREATE OR REPLACE FUNCTION meeta.project_facts(touched uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    meetings_before uuid[];
BEGIN
    SELECT array_agg(meeting_id) INTO meetings_before
    FROM meeta.captures WHERE capture_id = ANY (touched) AND meeting_id IS NOT NULL;

    UPDATE meeta.captures AS capture SET
        deployment = started.payload->>'deployment',
        room = started.payload->>'room',
        room_url = started.payload->>'room_url',
        bot_name = started.payload->>'bot_name',
        program_version = started.payload->>'program_version',
        library_version = hooked.library_version,
        started_at = started.occurred_at,
        joined_at = arrived.occurred_at,
        endpoint_id = seated.endpoint_id,
        ended_at = ended.occurred_at,
        end_reason = ended.payload->>'reason',
        end_detail = ended.payload->>'detail',
        meeting_id = meeta.uuid_or_null(identified.payload->>'meeting_id'),
        meeting_basis = identified.payload->>'basis',
        server_meeting_id = identified.payload->>'server_meeting_id',
        meeting_created_at = meeta.moment(identified.payload->'created_at'),
        meeting_started_at = coalesce(meeta.moment(begun.payload->'started_at'), begun.occurred_at),
        meeting_ended_at = coalesce(meeta.moment(over.payload->'ended_at'), over.occurred_at),
        meeting_end_reason = over.payload->>'reason',
        subject = named.subject,
        host_endpoint_id = host.endpoint_id,
        host_name = host.display_name,
        heartbeat_at = alive.occurred_at
    FROM unnest(touched) AS wanted (capture_id)
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.started'
        ORDER BY seq LIMIT 1) AS started ON true
    LEFT JOIN LATERAL (SELECT payload->>'library_version' AS library_version FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.hook_installed' AND payload IS NOT NULL
        ORDER BY seq DESC LIMIT 1) AS hooked ON true
    LEFT JOIN LATERAL (SELECT occurred_at FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'conference.joined'
        ORDER BY seq LIMIT 1) AS arrived ON true
    LEFT JOIN LATERAL (SELECT endpoint_id FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'conference.joined'
        ORDER BY seq DESC LIMIT 1) AS seated ON true
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.ended'
        ORDER BY seq DESC LIMIT 1) AS ended ON true
    LEFT JOIN LATERAL (SELECT payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'meeting.identified' AND payload IS NOT NULL
        ORDER BY seq DESC LIMIT 1) AS identified ON true
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'meeting.started'
        ORDER BY meeta.moment(payload->'started_at'), seq LIMIT 1) AS begun ON true
    LEFT JOIN LATERAL (SELECT occurred_at, payload FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'meeting.ended'
            AND seq > coalesce((SELECT max(later.seq) FROM meeta.events AS later
                WHERE later.capture_id = wanted.capture_id AND later.type = 'meeting.started'), 0)
        ORDER BY seq DESC LIMIT 1) AS over ON true
    LEFT JOIN LATERAL (SELECT payload->>'subject' AS subject FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'conference.subject_changed' AND payload IS NOT NULL
        ORDER BY seq DESC LIMIT 1) AS named ON true
    LEFT JOIN LATERAL (SELECT occurred_at FROM meeta.events AS event
        WHERE event.capture_id = wanted.capture_id AND type = 'capture.heartbeat'
        ORDER BY seq DESC LIMIT 1) AS alive ON true
    LEFT JOIN LATERAL (SELECT visit.endpoint_id, visit.display_name FROM meeta.visits AS visit
        WHERE visit.capture_id = wanted.capture_id AND visit.kind = 'human' AND visit.moderator_seq IS NOT NULL
        ORDER BY visit.moderator_seq LIMIT 1) AS host ON true
    WHERE capture.capture_id = wanted.capture_id;

    RETURN QUERY
        SELECT unnest(meetings_before)
        UNION
        SELECT meeting_id FROM meeta.captures WHERE capture_id = ANY (touched) AND meeting_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION meeta.project_facts(uuid[]) IS
    'Recomputes what captures say of themselves; returns the meetings that they named before or name now.';
