"""Connections to PostgreSQL and the meaning of their errors, the same for those who write, read and migrate.

Every failure to connect is raised as one tree of errors with one line and a hint, and never shows a password. A
connection has bounded waits, no JIT (it costs more than it saves on short statements) and UTC.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from meeta_bot import logs
from meeta_bot.errors import DatabaseError, DatabaseUnreachable
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
ServerError = asyncpg.PostgresError  # an error that a reachable server reports
UPGRADE_HINT = "run `meeta-bot db upgrade`"
URL_HINT = "write postgresql://user@host:5432/database, and in a password %40 for @, %2F for /, %3F for ?, %23 for #"
# What to do about an error of PostgreSQL, by the beginning of its SQLSTATE; the first that fits.
_HINTS = {
    "25006": "it is a standby or set to read-only: name the primary, or end default_transaction_read_only",
    "28": "check user and password; PGPASSWORD and ~/.pgpass give a password as well",
    "3D000": "create the database, or name another",
    "3F000": UPGRADE_HINT,
    "42501": "let the schema's owner grant this user what it needs, or use another user",
    "42704": "remove the parameter that PostgreSQL doesn't know from the database URL",
    "53100": "free space on the database server",
    "53300": "end other connections, or allow more: max_connections, or the role's CONNECTION LIMIT",
    "55P03": "somebody holds a lock: wait, or look for the session in pg_stat_activity",
    "57014": "it took too long: find out what keeps the server busy, or raise MEETA_DATABASE_STATEMENT_TIMEOUT",
    "57P": "wait until the server has started, or name one that takes connections",
}
_FAULTS_OF_A_ROW = ("22", "23", "54")  # SQLSTATE: data exception, constraint violation, program limit exceeded
_GONE = ("08", "57P")  # classes of SQLSTATE with which a server takes its leave
_LARGEST_PORT = 65535
DEFAULT_SERVER = "the default host"
_READ_ONLY = "SET default_transaction_read_only = on"
# Optional conditions of a query fold away only in a plan that is made for the values given.
_FOR_READERS = {"plan_cache_mode": "force_custom_plan"}
_GRACE = 5.0  # seconds that a server's own statement timeout gets before we give up on the server


async def connect(
    url: str,
    settings: Settings,
    *,
    purpose: str,
    statement_timeout: float | None = None,
    read_only: bool = False,
) -> Connection:
    """Open a connection for `purpose`, which shows in pg_stat_activity.

    `statement_timeout` (seconds, 0 is none) replaces that of the settings.

    :raises DatabaseUnreachable: nothing answers, or it won't let us in; the hint says what to check.
    :raises DatabaseError: `url` is not the address of a PostgreSQL database.
    """
    timeout = settings.database_statement_timeout if statement_timeout is None else statement_timeout
    lock_timeout = timeout or settings.database_statement_timeout
    try:
        _refuse_impossible_ports(url)
        connection: Connection = await asyncpg.connect(
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
                **(_FOR_READERS if read_only else {}),
            },
        )
        if read_only:  # not as an option of the start: target_session_attrs=read-write would find no server then
            try:
                await connection.execute(_READ_ONLY)
            except BaseException:
                connection.terminate()
                raise
        return connection
    except ssl.SSLError as error:  # a ValueError as well, when the certificate is not trusted
        raise _unreachable(url, error) from None
    except KeyError:  # of getpass: containers run with user ids that no passwd file has a name for
        raise DatabaseError(
            f"The database URL names no user, and user {os.geteuid()} of this system has no name", hint=URL_HINT
        ) from None
    except (asyncpg.ClientConfigurationError, ValueError):
        # What was wrong with it may be a password in the wrong server, so it is not repeated.
        raise DatabaseError("The database URL is not the address of a PostgreSQL database", hint=URL_HINT) from None
    except TROUBLE as error:
        raise _unreachable(url, error) from None


def trouble(error: Exception) -> DatabaseError:
    """Return the error for a statement that failed: refused by the server, or never answered."""
    state = str(getattr(error, "sqlstate", None) or "")
    if isinstance(error, asyncpg.PostgresError) and not state.startswith(_GONE):
        return DatabaseError(f"PostgreSQL refused: {explain(error)}", hint=hint(error))
    return DatabaseUnreachable(f"PostgreSQL did not answer: {explain(error)}", hint="is it still running? try again")


def is_fault_of_a_row(error: BaseException) -> bool:
    """Tell whether an error is about the values of one row, and not about the connection or the server."""
    # asyncpg's own DataError (a value that can't be encoded) is an InterfaceError and a ValueError.
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)
    return str(getattr(error, "sqlstate", None) or "").startswith(_FAULTS_OF_A_ROW)


def hint(error: BaseException) -> str:
    """Return the advice on an error of PostgreSQL."""
    state = str(getattr(error, "sqlstate", None) or "")
    if "startup parameter" in str(error):
        return "connect to PostgreSQL itself: a pool in between, such as PgBouncer, refuses settings of sessions"
    return next((text for prefix, text in _HINTS.items() if state.startswith(prefix)), "look at the server's log")


def explain(error: BaseException) -> str:
    """Describe an error in one line, without secrets, values of rows, and what could control a terminal."""
    if isinstance(error, asyncio.TimeoutError) and not str(error):
        return "no answer in time"
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError) and error.__cause__ is not None:
        error = error.__cause__  # asyncpg could not encode an argument, and its own words quote it
    # The message alone: DETAIL may quote the row.
    message = str(getattr(error, "message", None) or error)
    text = " ".join("".join(char if char.isprintable() else " " for char in message).split()) or type(error).__name__
    state = getattr(error, "sqlstate", None)
    return logs.redact_text(f"{text} ({state})" if state else text)


def _refuse_impossible_ports(url: str) -> None:
    """Refuse ports that can't exist: asyncpg would report an unknown host.

    :raises ValueError: one of the ports of `url` is not a port.
    """
    if any(int(port) > _LARGEST_PORT for port in re.findall(r":(\d+)(?=,|$)", urlsplit(url).netloc)):
        raise ValueError("port out of range")


def _unreachable(url: str, error: Exception) -> DatabaseUnreachable:
    server = _server_address(url)
    # The one error of that kind that no server sends: asyncpg's own word for a connection that broke.
    refused = isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.ConnectionDoesNotExistError)
    what, to_do = _refusal(server, error) if refused else _diagnosis(server, error)
    return DatabaseUnreachable(what, hint=to_do)


def _refusal(server: str, error: Exception) -> tuple[str, str]:
    """Describe the refusal of a connection by the PostgreSQL at `server`, and what to do."""
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return f"PostgreSQL at {server} does not let us in: {explain(error)}", hint(error)
    return f"PostgreSQL at {server} says: {explain(error)}", hint(error)


def _diagnosis(server: str, error: Exception) -> tuple[str, str]:
    """Describe an error on the way to `server`, and what to do."""
    match error:
        case socket.gaierror():
            diagnosis = f"Host not found for {server}: {error.strerror}", f"check the host's name; {URL_HINT}"
        case FileNotFoundError() if not server.startswith(("/", DEFAULT_SERVER)):
            diagnosis = f"The address of {server} names a file that is missing", "check sslrootcert, sslcert and sslkey"
        case ConnectionRefusedError() | FileNotFoundError():
            diagnosis = f"Nothing listens at {server}", "is PostgreSQL running, and is the port right?"
        case asyncio.TimeoutError():
            diagnosis = f"No answer from {server} in time", "check host, port and firewall: is it PostgreSQL?"
        case ssl.SSLError():
            diagnosis = f"{server} is not trusted: {explain(error)}", "check sslmode, sslrootcert and the host's name"
        case ConnectionError() if "SSL" in str(error):
            diagnosis = f"The server at {server} refuses TLS", "is it PostgreSQL? If it has no TLS: sslmode=disable"
        case ConnectionError() | asyncpg.ConnectionDoesNotExistError():
            diagnosis = f"The server at {server} hangs up at once", "is it PostgreSQL? Check host and port"
        case OSError():
            diagnosis = f"Can't reach {server}: {explain(error)}", "check host, port and network"
        case _:
            diagnosis = f"The server at {server} is not PostgreSQL: {explain(error)}", "check host and port"
    return diagnosis


def _server_address(url: str) -> str:
    """Return host, port and database of `url` for a message; nothing secret."""
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        host = options.get("host", [parts.hostname or DEFAULT_SERVER])[0]
        port = options.get("port", [str(parts.port or "")])[0]
    except ValueError:
        return "the given address"
    if "@" in parts.path:  # part of a password that has a slash in it
        return "the given address"
    return f"{host}{':' + port if port else ''}{parts.path}"
