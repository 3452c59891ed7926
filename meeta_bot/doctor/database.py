"""Checks of PostgreSQL: reached, fitting, writable, ahead of time. Nothing is changed in it.

The embedded server is started for the checks, as reading commands start it; where none exists yet, none is made.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from meeta_bot import database
from meeta_bot.clock import SystemClock
from meeta_bot.database import embedded, migrations, sqlfiles
from meeta_bot.database.embedded.cluster import ClusterPaths, account
from meeta_bot.doctor.checks import Examination, Finding, failed, note, ok, warning
from meeta_bot.doctor.machine import nearest_existing
from meeta_bot.settings import Settings

_T = TypeVar("_T")

OLDEST_TESTED = 15  # major version of PostgreSQL
_UPGRADED_BY = "`meeta-bot record` upgrades it when it starts; readers need `meeta-bot db upgrade`"
CLOCK_WARNING_MS = 1000  # NTP keeps machines within some milliseconds; a second is a clock that nobody keeps


def deadline(settings: Settings) -> float:
    """Return the seconds for starting the embedded server and connecting."""
    return settings.embedded_start_timeout + settings.database_connect_timeout


def query_deadline(settings: Settings) -> float:
    """Return the seconds for a connection and a small query."""
    return settings.database_connect_timeout + settings.doctor_timeout


async def reachable(examination: Examination) -> Finding:
    """Connect to the database, and report its address and version."""
    chosen = examination.settings
    if chosen.database_url is None:
        paths = ClusterPaths.of(chosen)
        if not (paths.data / "PG_VERSION").exists():
            return _not_yet(paths)
        ran = await embedded.is_running(chosen)
        url = await examination.exits.enter_async_context(embedded.running(chosen))
        what = f"the embedded server in {paths.home}, {'running' if ran else 'started for this check'}"
    else:
        url = chosen.database_url.get_secret_value()
        what = None
    connection = await database.connect(url, chosen, purpose="doctor", statement_timeout=chosen.doctor_timeout)
    examination.exits.callback(connection.terminate)
    examination.connection, examination.database_url = connection, url
    return await _version(connection, what)


def _not_yet(paths: ClusterPaths) -> Finding:
    """Return the finding on an embedded server that nobody has needed so far."""
    owner, standing = account(), nearest_existing(paths.home)
    closed = [one for one in (standing, *standing.parents) if not one.stat().st_mode & 0o001]
    if closed and not owner.is_ourselves:
        return failed(
            f"the embedded server would run as user {owner.name}, who can't enter {closed[-1]}",
            "name another directory with MEETA_DATA_DIRECTORY, or allow passing through with chmod o+x",
        )
    who = "" if owner.is_ourselves else f", run as user {owner.name}"
    return note(
        f"the embedded server{who}; will be created at first use in {paths.home}", stops="there is no database yet"
    )


async def _version(connection: database.Connection, what: str | None) -> Finding:
    row = await _fetch(connection, "doctor/server")
    version = connection.get_server_version()
    found = f"version {version.major}.{version.minor}, " + (
        what or f"database {row['database']} at {row['place'] or 'a unix socket'} as {row['role']}"
    )
    if version.major < OLDEST_TESTED:
        return warning(found, f"PostgreSQL {OLDEST_TESTED} and newer are tested; upgrade the server")
    return ok(found)


async def schema(examination: Examination) -> Finding:
    """Check that the schema is the one that this program knows."""
    version = await _guarded(database.schema_version(examination.connection))
    known = sqlfiles.migrations()[-1][0]
    if version is None:
        return note("none yet; `meeta-bot record` creates it when it starts", stops="there is no schema yet")
    if version > known:
        raise database.newer(version, known)
    if version < known:
        return warning(f"at migration {version}, this program brings {known}", _UPGRADED_BY)
    status = await migrations.status(examination.database_url, examination.settings)
    if status.changed:
        return failed(
            f"{', '.join(status.changed)} changed after being applied",
            "restore the files of sql/migrations; a change needs a migration of its own",
        )
    if status.unknown:
        return failed(f"{database.some(status.unknown)} of a newer program", database.NEWER_HINT)
    if status.pending:
        return warning(f"not as this program has it: {database.some(status.pending)}", _UPGRADED_BY)
    return ok(f"up to date, migration {version}")


async def rights(examination: Examination) -> Finding:
    """Check that this role may write, and that the server takes writes."""
    row = await _fetch(examination.connection, "doctor/rights")
    role = row["role"]
    obstacle = _obstacle(row)
    if obstacle is not None:
        return failed(*obstacle)
    if not row["has_schema"]:
        return ok(f"{role} may create the schema")
    if not row["may_create_partitions"]:
        return warning(
            f"{role} may write, but not create the coming months' partitions",
            "run `meeta-bot db upgrade` every month as the owner of the schema",
        )
    return ok(f"{role} may write and create partitions")


def _obstacle(row: Any) -> tuple[str, str] | None:
    """Return the obstacle that keeps the role from writing, and what to do about it."""
    role, tables = row["role"], ", ".join(row["not_writable"])
    obstacles = (
        (row["is_standby"], "the server is a standby and takes no writes", "name the primary server"),
        (
            row["is_read_only"],
            f"transactions of {role} are read-only by default",
            f"ALTER ROLE {role} RESET default_transaction_read_only, or change the server's setting",
        ),
        (
            not row["has_schema"] and not row["may_create_schema"],
            f"{role} may not create the schema",
            f"GRANT CREATE ON DATABASE … TO {role}, or run `meeta-bot db upgrade` as another role",
        ),
        (
            row["has_schema"] and not row["may_use_schema"],
            f"{role} may not use the schema meeta",
            f"GRANT USAGE ON SCHEMA meeta TO {role}",
        ),
        (
            bool(tables),
            f"{role} may not write {tables}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA meeta TO {role}",
        ),
    )
    return next(((found, hint) for is_there, found, hint in obstacles if is_there), None)


async def partitions(examination: Examination) -> Finding:
    """Check that the coming months have their partitions."""
    row = await _fetch(examination.connection, "doctor/partitions")
    months: list[str] = row["months"]
    wanted = examination.settings.partition_months_ahead + 1
    expected = _months(row["this_month"], wanted)
    missing = [month for month in expected if month not in months]
    if not missing:
        return ok(f"{len(months)} months: {months[0]} to {months[-1]}")
    created = f"{len(months)} of the {wanted} from {expected[0]} to {expected[-1]}"
    return warning(
        f"{created}; missing: {', '.join(missing)}",
        "`meeta-bot record` creates them when it starts; so does `db upgrade`",
    )


def _months(first: str, count: int) -> list[str]:
    """List `count` months as ``YYYY-MM``, beginning with `first`."""
    year, month = (int(part) for part in first.split("-"))
    numbers = range(year * 12 + month - 1, year * 12 + month - 1 + count)
    return [f"{number // 12:04}-{number % 12 + 1:02}" for number in numbers]


async def clock(examination: Examination) -> Finding:
    """Compare the database server's clock with this machine's."""
    ours = SystemClock()
    before, began = ours.wall_ms(), time.monotonic()
    theirs: int = await _guarded(examination.connection.fetchval(sqlfiles.statement("schema/server_time_ms")))
    took_ms = (time.monotonic() - began) * 1000
    off = before + took_ms / 2 - theirs
    uncertain = max(1.0, took_ms / 2)
    found = f"{abs(off):,.0f} ms {'ahead of' if off > 0 else 'behind'} the database's (± {uncertain:.0f} ms)"
    if abs(off) > migrations.CLOCK_TOLERANCE_MS:
        return failed(
            f"this machine's is {found}", "set the clock: the ids of captures carry its time, so `record` refuses"
        )
    if abs(off) > CLOCK_WARNING_MS + uncertain:
        return warning(
            f"this machine's is {found}",
            "one of the two is wrong; occurred_at is this machine's, and queries with now() use the database's",
        )
    return ok(f"the same as this machine's within {abs(off) + uncertain:.0f} ms")


async def quarantine(examination: Examination) -> Finding:
    """Check whether events were refused."""
    row = await _fetch(examination.connection, "doctor/quarantine")
    if row["refused"] or row["conflicts"]:
        return warning(
            f"{row['refused']} events refused by PostgreSQL, {row['conflicts']} in conflict with stored ones",
            "their bytes and the reason are in meeta.quarantine; report it",
        )
    return ok("empty")


async def _fetch(connection: database.Connection, name: str) -> Any:
    """Return the one row of a query of ``sql/queries``.

    :raises DatabaseError: the query failed; the line says why.
    """
    return await _guarded(connection.fetchrow(sqlfiles.statement(name)))


async def _guarded(query: Awaitable[_T]) -> _T:
    try:
        return await query
    except database.TROUBLE as error:
        raise database.trouble(error) from None
