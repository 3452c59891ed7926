"""What a schema is made of, for comparison: everything that a migration or a definition can say."""

from __future__ import annotations

from typing import Any

from tests.stack.postgres import fetch

_ASKED = {
    "relations": """
        SELECT relname, relkind::text, reloptions::text, pg_get_expr(relpartbound, oid) AS bounds,
            CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END AS view, obj_description(oid, 'pg_class') AS comment
        FROM pg_class WHERE relnamespace = 'meeta'::regnamespace AND relkind NOT IN ('i', 'I') ORDER BY relname""",
    "columns": """
        SELECT relname, row_number() OVER (PARTITION BY attrelid ORDER BY attnum) AS place, attname,
            format_type(atttypid, atttypmod) AS type, attnotnull, attgenerated::text, attidentity::text,
            pg_get_expr(adbin, adrelid) AS value, col_description(attrelid, attnum) AS comment
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'meeta'::regnamespace AND relkind NOT IN ('i', 'I') AND attnum > 0 AND NOT attisdropped
        ORDER BY relname, place""",
    "constraints": """
        SELECT conrelid::regclass::text AS relation, conname, pg_get_constraintdef(oid) AS text,
            obj_description(oid, 'pg_constraint') AS comment
        FROM pg_constraint WHERE connamespace = 'meeta'::regnamespace ORDER BY relation, conname""",
    # A partition's index is named by PostgreSQL, depending on which of the two came first.
    "indexes": """
        SELECT CASE WHEN relispartition THEN '' ELSE relname END AS name, indrelid::regclass::text AS relation,
            regexp_replace(pg_get_indexdef(indexrelid), 'INDEX \\S+ ON', 'INDEX ON') AS text, indisvalid,
            obj_description(indexrelid, 'pg_class') AS comment
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relnamespace = 'meeta'::regnamespace ORDER BY relation, name, text""",
    "functions": """
        SELECT oid::regprocedure::text AS name, pg_get_functiondef(oid) AS text,
            obj_description(oid, 'pg_proc') AS comment
        FROM pg_proc WHERE pronamespace = 'meeta'::regnamespace ORDER BY name""",
    "types": """
        SELECT typname, typtype::text, obj_description(oid, 'pg_type') AS comment
        FROM pg_type WHERE typnamespace = 'meeta'::regnamespace ORDER BY typname""",
    "triggers": """
        SELECT tgrelid::regclass::text AS relation, pg_get_triggerdef(oid) AS text
        FROM pg_trigger WHERE NOT tgisinternal ORDER BY relation, text""",
    "schemas": """
        SELECT nspname, obj_description(oid, 'pg_namespace') AS comment
        FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY nspname""",
    "migrations": "SELECT number, name, sha256 FROM meeta.migrations ORDER BY number",
    "definitions": "SELECT name, sha256, program_version FROM meeta.definitions ORDER BY name",
}


async def catalog(url: str) -> dict[str, list[dict[str, Any]]]:
    """All of a schema: tables, columns, constraints, indexes, functions, views, comments, and the books on it."""
    return {name: await fetch(url, statement) for name, statement in _ASKED.items()}
