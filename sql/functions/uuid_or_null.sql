CREATE OR REPLACE FUNCTION meeta.uuid_or_null(value text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END
$$;
COMMENT ON FUNCTION meeta.uuid_or_null(text) IS 'The UUID written in a text; null when it is none.';
