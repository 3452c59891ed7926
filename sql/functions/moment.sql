CREATE OR REPLACE FUNCTION meeta.moment(milliseconds numeric) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- Multiplying whole seconds keeps the result exact; a fraction would go through floating point.
    SELECT CASE WHEN milliseconds BETWEEN -62135596800000 AND 253402300799999 THEN
        timestamptz 'epoch'
        + (div(trunc(milliseconds), 1000))::double precision * interval '1 second'
        + (mod(trunc(milliseconds), 1000))::double precision * interval '1 millisecond'
    END
$$;
COMMENT ON FUNCTION meeta.moment(numeric) IS
    'The moment so many milliseconds after 1970 in UTC; null outside the years 1 to 9999, which readers can''t show.';

CREATE OR REPLACE FUNCTION meeta.moment(milliseconds jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(milliseconds) WHEN 'number' THEN meeta.moment(milliseconds::numeric) END
$$;
COMMENT ON FUNCTION meeta.moment(jsonb) IS 'The same of a JSON number; null of anything else.';
