-- What `verify` reads. Nothing is written and nothing locked.

-- name: session
-- Settings of a session.
-- Everything lies along an index; statements are the same for every capture, so they are planned once. A plan that is
-- kept must suit the largest capture.
SET enable_bitmapscan = off;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;

-- name: capture_ids
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
ORDER BY capture_id;

-- name: knows
-- Is anything stored of a capture?
-- $1 capture id
SELECT EXISTS (SELECT FROM meeta.captures WHERE capture_id = $1::uuid)
    OR EXISTS (SELECT FROM meeta.events WHERE capture_id = $1)
    OR EXISTS (SELECT FROM meeta.visits WHERE capture_id = $1)
    OR EXISTS (SELECT FROM meeta.gaps WHERE capture_id = $1)
    OR EXISTS (SELECT FROM meeta.quarantine WHERE capture_id = $1::text);

-- name: head
-- One capture: how many events are stored, which is the last, and what captures says of it (null without that row).
-- $1 capture id
SELECT counted.events, counted.last_seq, head.digest AS head, head.occurred_at AS last_at,
    head.monotonic_ms AS last_monotonic_ms,
    known.capture_id IS NOT NULL AS is_known, known.meeting_id::text AS meeting_id, known.room,
    known.event_count AS told_events, known.last_seq AS told_last_seq, known.head_digest AS told_head,
    known.last_at AS told_last_at, known.last_monotonic_ms AS told_last_monotonic_ms
FROM (SELECT count(*) AS events, max(seq) AS last_seq FROM meeta.events WHERE capture_id = $1::uuid) AS counted
LEFT JOIN meeta.events AS head ON head.capture_id = $1 AND head.seq = counted.last_seq
LEFT JOIN meeta.captures AS known ON known.capture_id = $1;

-- name: life
-- What the recorder of a capture said of itself, in order, and where something was kept raw (without its payload).
-- $1 capture id
SELECT seq, type, occurred_at, monotonic_ms, CASE WHEN type <> 'unknown' THEN payload END AS payload
FROM meeta.events
WHERE capture_id = $1::uuid
    AND type IN ('capture.started', 'capture.hook_installed', 'capture.heartbeat', 'capture.gap',
        'capture.reconnecting', 'signalling.lost', 'bridge.lost', 'capture.ended', 'unknown')
ORDER BY seq;

-- name: events
-- Raw rows of a capture between two numbers, both included. A payload that takes more than so many bytes where it is
-- stored is fetched by itself.
-- $1 capture id, $2 first and $3 last seq, $4 bytes
SELECT seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, server_at, initial, inferred,
    CASE WHEN pg_column_size(payload) <= $4::integer THEN payload END AS payload,
    salt, commitment, digest, quarantine_reason, coalesce(pg_column_size(payload) > $4, false) AS is_large
FROM meeta.events
WHERE capture_id = $1::uuid AND seq BETWEEN $2::bigint AND $3::bigint
ORDER BY seq;

-- name: payload
-- The payload of one event.
-- $1 capture id, $2 seq
SELECT payload FROM meeta.events WHERE capture_id = $1::uuid AND seq = $2::bigint;

-- name: digest_seq
-- The number of the event of a capture that has a digest.
-- $1 capture id, $2 digest
SELECT seq FROM meeta.events WHERE capture_id = $1::uuid AND digest = $2::bytea ORDER BY seq LIMIT 1;

-- name: sealed
-- An event that was refused, as it came.
-- $1 capture id as text, $2 seq, $3 digest
SELECT reason, sealed
FROM meeta.quarantine
WHERE capture_id = $1::text AND seq = $2::bigint AND kind = 'refused' AND digest = $3::bytea;

-- name: quarantine
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
WHERE held.capture_id = $1::text;

-- name: meetings
-- Meetings that no capture names.
SELECT meeting_id::text, room
FROM meeta.meetings AS meeting
WHERE NOT EXISTS (SELECT FROM meeta.captures WHERE captures.meeting_id = meeting.meeting_id)
ORDER BY meeting_id;

-- name: projections
-- Where what is derived of one capture differs from its events. Says what meeta.project_facts, project_gaps,
-- project_visits and project_meetings would store; tests hold the two together. One row a difference: table, number of
-- the row, whether it is missing, surplus or different, and the columns that are.
-- $1 capture id, $2 limit
WITH named AS (
    SELECT meeta.uuid_or_null(payload->>'meeting_id') AS meeting_id
    FROM (SELECT payload FROM meeta.events
          WHERE capture_id = $1::uuid AND type = 'meeting.identified' AND payload IS NOT NULL
          ORDER BY seq DESC LIMIT 1) AS identified
    UNION
    SELECT meeting_id FROM meeta.captures WHERE capture_id = $1
), wanted AS (
    -- This capture, and the others of its meeting: the meeting's row is made of all of them.
    SELECT $1::uuid AS capture_id
    UNION
    SELECT capture_id FROM meeta.captures WHERE meeting_id = ANY (ARRAY(SELECT meeting_id FROM named))
), moved AS MATERIALIZED (
    SELECT DISTINCT event.capture_id, event.endpoint_id
    FROM wanted
    JOIN meeta.events AS event ON event.capture_id = wanted.capture_id
    WHERE event.type IN ('participant.joined', 'participant.left', 'participant.renamed', 'participant.role_changed')
        AND event.endpoint_id IS NOT NULL
), visit AS MATERIALIZED (
    SELECT * FROM meeta.visits_of(
        ARRAY(SELECT capture_id FROM moved ORDER BY capture_id, endpoint_id),
        ARRAY(SELECT endpoint_id FROM moved ORDER BY capture_id, endpoint_id))
), gap AS (
    SELECT capture_id, seq, payload->>'cause' AS cause, payload->>'lost' AS lost,
        meeta.moment(payload->'from_at') AS from_at, meeta.moment(payload->'to_at') AS to_at,
        payload->>'evidence' AS evidence, meeta.whole(payload->'missed') AS missed,
        meeta.whole(payload->'from_ms') AS from_ms, meeta.whole(payload->'to_ms') AS to_ms
    FROM meeta.events
    WHERE capture_id = $1 AND type = 'capture.gap' AND payload IS NOT NULL
), capture AS MATERIALIZED (
    SELECT wanted.capture_id,
        started.payload->>'deployment' AS deployment,
        started.payload->>'room' AS room,
        started.payload->>'room_url' AS room_url,
        started.payload->>'bot_name' AS bot_name,
        started.payload->>'program_version' AS program_version,
        hooked.library_version,
        started.occurred_at AS started_at,
        arrived.occurred_at AS joined_at,
        seated.endpoint_id,
        ended.occurred_at AS ended_at,
        ended.payload->>'reason' AS end_reason,
        ended.payload->>'detail' AS end_detail,
        meeta.uuid_or_null(identified.payload->>'meeting_id') AS meeting_id,
        identified.payload->>'basis' AS meeting_basis,
        identified.payload->>'server_meeting_id' AS server_meeting_id,
        meeta.moment(identified.payload->'created_at') AS meeting_created_at,
        coalesce(meeta.moment(begun.payload->'started_at'), begun.occurred_at) AS meeting_started_at,
        coalesce(meeta.moment(over.payload->'ended_at'), over.occurred_at) AS meeting_ended_at,
        over.payload->>'reason' AS meeting_end_reason,
        named.subject,
        host.endpoint_id AS host_endpoint_id,
        host.display_name AS host_name,
        alive.occurred_at AS heartbeat_at
    FROM wanted
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
    LEFT JOIN LATERAL (SELECT visit.endpoint_id, visit.display_name FROM visit
        WHERE visit.capture_id = wanted.capture_id AND visit.kind = 'human' AND visit.moderator_seq IS NOT NULL
        ORDER BY visit.moderator_seq LIMIT 1) AS host ON true
), meeting AS (
    SELECT meeting_id,
        (array_agg(deployment ORDER BY started_at, capture_id) FILTER (WHERE deployment IS NOT NULL))[1] AS deployment,
        (array_agg(room ORDER BY started_at, capture_id) FILTER (WHERE room IS NOT NULL))[1] AS room,
        (array_agg(server_meeting_id ORDER BY started_at, capture_id)
            FILTER (WHERE server_meeting_id IS NOT NULL))[1] AS server_meeting_id,
        min(meeting_created_at) AS created_at,
        min(meeting_started_at) AS started_at,
        max(meeting_ended_at) AS ended_at,
        (array_agg(meeting_end_reason ORDER BY meeting_ended_at DESC, capture_id)
            FILTER (WHERE meeting_ended_at IS NOT NULL))[1] AS end_reason,
        (array_agg(subject ORDER BY started_at DESC, capture_id DESC)
            FILTER (WHERE subject IS NOT NULL))[1] AS subject,
        (array_agg(host_endpoint_id ORDER BY started_at, capture_id)
            FILTER (WHERE host_endpoint_id IS NOT NULL))[1] AS host_endpoint_id,
        (array_agg(host_name ORDER BY started_at, capture_id)
            FILTER (WHERE host_endpoint_id IS NOT NULL))[1] AS host_name,
        min(started_at) AS captured_at,
        count(*) AS capture_count
    FROM capture
    WHERE meeting_id = ANY (ARRAY(SELECT meeting_id FROM named))
    GROUP BY meeting_id
), pair AS (
    SELECT 'captures' AS relation, NULL::bigint AS seq, to_jsonb(derived) AS derived,
        to_jsonb(stored) - 'last_seq' - 'last_at' - 'last_monotonic_ms' - 'head_digest' - 'event_count' AS stored
    FROM (SELECT * FROM capture
          WHERE capture_id = $1 AND EXISTS (SELECT FROM meeta.events WHERE capture_id = $1)) AS derived
    FULL JOIN (SELECT * FROM meeta.captures WHERE capture_id = $1) AS stored USING (capture_id)
    UNION ALL
    SELECT 'meetings', NULL, to_jsonb(derived), to_jsonb(stored)
    FROM meeting AS derived
    FULL JOIN (SELECT * FROM meeta.meetings WHERE meeting_id = ANY (ARRAY(SELECT meeting_id FROM named))) AS stored
        USING (meeting_id)
    UNION ALL
    SELECT 'visits', joined_seq, to_jsonb(derived), to_jsonb(stored)
    FROM (SELECT * FROM visit WHERE capture_id = $1) AS derived
    FULL JOIN (SELECT * FROM meeta.visits WHERE capture_id = $1) AS stored USING (joined_seq)
    UNION ALL
    SELECT 'gaps', seq, to_jsonb(derived), to_jsonb(stored)
    FROM gap AS derived
    FULL JOIN (SELECT * FROM meeta.gaps WHERE capture_id = $1) AS stored USING (seq)
)
SELECT relation, seq,
    CASE WHEN stored IS NULL THEN 'missing' WHEN derived IS NULL THEN 'surplus' ELSE 'different' END AS problem,
    ARRAY(SELECT key
          FROM jsonb_each(derived) AS one (key, value)
          FULL JOIN jsonb_each(stored) AS other (key, value) USING (key)
          WHERE one.value IS DISTINCT FROM other.value
          ORDER BY key) AS columns
FROM pair
WHERE derived IS DISTINCT FROM stored
ORDER BY relation, seq
LIMIT $2;
