"""PostgreSQL: connections, the schema, the statements of ``sql/``, and the server that comes with the program.

The parts of :mod:`.connection` that everybody who talks to PostgreSQL needs are offered here.
"""

from meeta_bot.database.connection import (
    TROUBLE,
    UPGRADE_HINT,
    URL_HINT,
    Connection,
    ServerError,
    connect,
    explain,
    is_fault_of_a_row,
    newer,
    require_schema,
    schema_version,
    trouble,
)

__all__ = [
    "TROUBLE",
    "UPGRADE_HINT",
    "URL_HINT",
    "Connection",
    "ServerError",
    "connect",
    "explain",
    "is_fault_of_a_row",
    "newer",
    "require_schema",
    "schema_version",
    "trouble",
]
