"""Connections to PostgreSQL and what their errors mean, the same for those who write, read and migrate.

Whatever goes wrong while connecting comes out as one tree of errors with one line and a hint, and never shows a
password. A connection has bounded waits, no JIT (it costs more than it saves on short statements) and UTC.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from meeta_bot import logs, sqlfiles
from meeta_bot.errors import DatabaseError, DatabaseNewer, DatabaseNotMigrated, DatabaseUnreachable
from meeta_bot.settings import APPLICATION, Settings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # generic for type checkers only

# Everything that asyncpg lets through when a server is away, in trouble or none at all.
TROUBLE: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
    asyncio.IncompleteReadError,
)
UPGRADE_HINT = "run `meeta-bot db upgrade`"
# Optional conditions of a query fold away only in a plan that is made for the values given.
_READ_ONLY = {"default_transaction_read_only": "on", "plan_cache_mode": "force_custom_plan"}
_GRACE = 5.0  # seconds that a server's own statement timeout gets before we give up on the server


async def connect(
    url: str,
    settings: Settings,
    *,
    purpose: str,
    statement_timeout: float | None = None,
    read_only: bool = False,
) -> Connection:
    """A connection for `purpose`, which shows in pg_stat_activity.

    `statement_timeout` (seconds, 0 is none) replaces that of the settings.

    :raises DatabaseUnreachable: nothing answers, or it won't let us in; the hint says what to look at.
    :raises DatabaseError: `url` is no address of a PostgreSQL.
    """
    timeout = settings.database_statement_timeout if statement_timeout is None else statement_timeout
    lock_timeout = timeout or settings.database_statement_timeout
    try:
        return await asyncpg.connect(
            url,
            timeout=settings.database_connect_timeout,
            command_timeout=timeout + _GRACE if timeout else None,
            server_settings={
                "application_name": f"{APPLICATION} {purpose}",
                "jit": "off",
                "timezone": "UTC",
                "statement_timeout": str(int(timeout * 1000)),
                "lock_timeout": str(int(lock_timeout * 1000)),
                "default_transaction_isolation": "read committed",
                **(_READ_ONLY if read_only else {}),
            },
        )
    except (asyncpg.ClientConfigurationError, ValueError):
        # What was wrong with it may be a password in the wrong place, so it is not repeated.
        raise DatabaseError(
            "The database URL is no address of a PostgreSQL", hint="write postgresql://user@host:5432/database"
        ) from None
    except TROUBLE as error:
        raise _unreachable(url, error) from None


async def schema_version(connection: Connection) -> int | None:
    """The number of the newest migration that was applied; None when there is no schema."""
    try:
        version: int | None = await connection.fetchval(sqlfiles.statement("queries/schema_version"))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    return version


async def require_schema(connection: Connection) -> None:
    """Make sure that the schema is the one this program knows.

    :raises DatabaseNotMigrated: it is missing or older.
    :raises DatabaseNewer: it is newer.
    """
    version = await schema_version(connection)
    known = sqlfiles.migrations()[-1][0]
    if version is None:
        raise DatabaseNotMigrated("The database has no meeta schema yet", hint=UPGRADE_HINT)
    if version < known:
        raise DatabaseNotMigrated(
            f"The schema is at migration {version}, this program needs {known}", hint=UPGRADE_HINT
        )
    if version > known:
        raise newer(version, known)


def newer(version: int, known: int) -> DatabaseNewer:
    """The error for a schema that this program doesn't know yet."""
    return DatabaseNewer(
        f"The schema is at migration {version}, this program knows only {known}", hint="install a newer meeta-bot"
    )


def explain(error: BaseException) -> str:
    """One line that says what happened, without secrets and without the values of rows."""
    if isinstance(error, asyncio.TimeoutError) and not str(error):
        return "no answer in time"
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError) and error.__cause__ is not None:
        error = error.__cause__  # asyncpg could not encode an argument, and its own words quote it
    # The message alone: DETAIL may quote the row.
    text = " ".join(str(getattr(error, "message", None) or error).split()) or type(error).__name__
    state = getattr(error, "sqlstate", None)
    return logs.redact_text(f"{text} ({state})" if state else text)


def _unreachable(url: str, error: Exception) -> DatabaseUnreachable:
    what, hint = _diagnosis(_place(url), error)
    return DatabaseUnreachable(what, hint=hint)


def _diagnosis(place: str, error: Exception) -> tuple[str, str]:
    """What is wrong and what to do, for an error of connecting to `place`."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            diagnosis = f"PostgreSQL at {place} does not let us in: {explain(error)}", "check user and password"
        case asyncpg.InvalidCatalogNameError():
            diagnosis = f"PostgreSQL at {place} says: {explain(error)}", "create the database or name another"
        case asyncpg.PostgresError():
            diagnosis = f"PostgreSQL at {place} says: {explain(error)}", "look at the server's log"
        case socket.gaierror():
            diagnosis = f"There is no host for {place}: {error.strerror}", "check the host's name"
        case ConnectionRefusedError() | FileNotFoundError():
            diagnosis = f"Nothing listens at {place}", "is PostgreSQL running, and is the port right?"
        case asyncio.TimeoutError():
            diagnosis = f"No answer from {place} in time", "check host, port and firewall"
        case OSError():
            diagnosis = f"Can't reach {place}: {explain(error)}", "check host, port and network"
        case _:
            diagnosis = f"What answers at {place} is no PostgreSQL: {explain(error)}", "check host and port"
    return diagnosis


def _place(url: str) -> str:
    """Host, port and database of `url` for a message; nothing secret."""
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        host = options.get("host", [parts.hostname or "the default host"])[0]
        port = options.get("port", [str(parts.port or "")])[0]
    except ValueError:
        return "the given address"
    if "@" in parts.path:  # part of a password that has a slash in it
        return "the given address"
    return f"{host}{':' + port if port else ''}{parts.path}"
