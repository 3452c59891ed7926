"""PostgreSQL: connections, the schema, the statements of ``sql/``, and the server that comes with the program.

The parts of :mod:`.connection` and :mod:`.schema` that everybody who talks to PostgreSQL needs are offered here.
"""

from meeta_bot.database.connection import (
    TROUBLE,
    UPGRADE_HINT,
    URL_HINT,
    Connection,
    ServerError,
    connect,
    explain,
    hint,
    is_fault_of_a_row,
    trouble,
)
from meeta_bot.database.schema import (
    NEWER_HINT,
    Differences,
    differences,
    newer,
    refuse_newer,
    require_schema,
    schema_version,
    some,
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
