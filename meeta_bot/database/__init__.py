"""PostgreSQL: connections, the schema, the statements of ``sql/``, and the server that comes with the program.

The parts of :mod:`.connection` that everybody who talks to PostgreSQL needs are offered here.
"""

from meeta_bot.database.connection import (
    NEWER_HINT,
    TROUBLE,
    UPGRADE_HINT,
    URL_HINT,
    Connection,
    Differences,
    ServerError,
    connect,
    differences,
    explain,
    hint,
    is_fault_of_a_row,
    newer,
    refuse_newer,
    require_schema,
    schema_version,
    some,
    trouble,
)

__all__ = [
    "NEWER_HINT",
    "TROUBLE",
    "UPGRADE_HINT",
    "URL_HINT",
    "Connection",
    "Differences",
    "ServerError",
    "connect",
    "differences",
    "explain",
    "hint",
    "is_fault_of_a_row",
    "newer",
    "refuse_newer",
    "require_schema",
    "schema_version",
    "some",
    "trouble",
]
