"""PostgreSQL: connections, the schema, the statements of ``sql/``, and the server that comes with the program.

What everybody who talks to a database needs of :mod:`.connection` is offered here.
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
