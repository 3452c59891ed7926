"""What `meeta-bot db` does to a schema: upgrade it, tell its state, rebuild the derived tables.

Migrations are the plain SQL files of ``sql/migrations``, each applied once, together with its record, in one
transaction, under an advisory lock that any number of processes may wait for.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import msgspec

from meeta_bot import database, sqlfiles
from meeta_bot.clock import Clock, SystemClock
from meeta_bot.errors import DatabaseError, DatabaseUnreachable
from meeta_bot.settings import Settings

CLOCK_TOLERANCE_MS = 24 * 3600 * 1000  # capture ids carry the host's time; beyond it they land in wrong partitions
REBUILD_CHUNK = 5000  # events a statement
_BEFORE_ALL = UUID(int=0)


class Status(msgspec.Struct, frozen=True):
    """State of a schema: names of migrations, in order. ``changed`` are files that differ from what was applied."""

    applied: list[str]
    pending: list[str]
    unknown: list[str]
    changed: list[str]


async def upgrade(url: str, settings: Settings, clock: Clock | None = None) -> list[str]:
    """Bring the schema up to date and create partitions ahead; the names of the migrations that were applied.

    :raises DatabaseUnreachable: it can't be reached, or another upgrade holds the lock for too long.
    :raises DatabaseNewer: the schema is newer than this program.
    :raises DatabaseError: an applied file was changed, a statement failed, or this host's clock is far off.
    """
    async with _connected(url, settings, "upgrade") as connection:
        await _refuse_wrong_clock(connection, clock or SystemClock())
        await _lock(connection)
        await connection.execute(sqlfiles.statement("schema/prepare"))
        pending = await _pending(connection)
        for number, name, text in pending:
            await _apply(connection, number, name, text)
        months = settings.partition_months_ahead + 1
        await connection.execute(sqlfiles.statement("schema/ensure_partitions"), months)
    return [name for _, name, _ in pending]


async def status(url: str, settings: Settings) -> Status:
    """What is applied and what is not; changes nothing.

    :raises DatabaseUnreachable: it can't be reached.
    """
    async with _connected(url, settings, "status") as connection:
        applied = await _applied(connection)
    files = sqlfiles.migrations()
    known = {number for number, _, _ in files}
    return Status(
        applied=[name for name, _ in applied.values()],
        pending=[name for number, name, _ in files if number not in applied],
        unknown=[name for number, (name, _) in applied.items() if number not in known],
        changed=[name for number, name, text in files if number in applied and applied[number][1] != _hash(text)],
    )


async def rebuild(url: str, settings: Settings) -> int:
    """Derive captures, meetings, visits and gaps anew from all events; how many events were replayed.

    One transaction: readers see the old tables until it commits, writers wait (and their spools fill).

    :raises DatabaseUnreachable: it can't be reached.
    :raises DatabaseNotMigrated: the schema is missing or older.
    :raises DatabaseNewer: the schema is newer.
    """
    replayed = 0
    async with _connected(url, settings, "rebuild") as connection:
        await database.require_schema(connection)
        async with connection.transaction():
            await connection.execute(sqlfiles.statement("rebuild/begin"))
            capture_id = await _next_capture(connection, _BEFORE_ALL)
            while capture_id is not None:
                replayed += await _replay(connection, capture_id)
                capture_id = await _next_capture(connection, capture_id)
    return replayed


async def _next_capture(connection: database.Connection, after: UUID) -> UUID | None:
    found: UUID | None = await connection.fetchval(sqlfiles.statement("rebuild/next_capture"), after)
    return found


async def _replay(connection: database.Connection, capture_id: UUID) -> int:
    last, replayed = 0, 0
    statement = sqlfiles.statement("rebuild/chunk")
    while (row := await connection.fetchrow(statement, capture_id, last, REBUILD_CHUNK)) is not None:
        last = row["last"]
        replayed += row["replayed"]
    return replayed


@asynccontextmanager
async def _connected(url: str, settings: Settings, purpose: str) -> AsyncIterator[database.Connection]:
    # A migration or a rebuild may rightly take longer than any statement of the recorder.
    connection = await database.connect(url, settings, purpose=purpose, statement_timeout=0)
    try:
        yield connection
    except asyncpg.LockNotAvailableError:
        raise DatabaseUnreachable(
            "Another process holds the lock for too long", hint="wait for the other upgrade, or look for its session"
        ) from None
    except database.TROUBLE as error:
        raise database.trouble(error) from None
    finally:
        connection.terminate()  # also gives the advisory lock back, whatever state the session is in


async def _refuse_wrong_clock(connection: database.Connection, clock: Clock) -> None:
    server_ms: int = await connection.fetchval(sqlfiles.statement("schema/server_time_ms"))
    off = clock.wall_ms() - server_ms
    if abs(off) > CLOCK_TOLERANCE_MS:
        raise DatabaseError(
            f"This machine's clock is {abs(off) / 3_600_000:.0f} hours {'ahead of' if off > 0 else 'behind'} "
            "the database server's",
            hint="set the clock: the ids of captures carry its time",
        )


async def _lock(connection: database.Connection) -> None:
    await connection.execute(sqlfiles.statement("schema/lock"))


async def _applied(connection: database.Connection) -> dict[int, tuple[str, bytes]]:
    if not await connection.fetchval(sqlfiles.statement("schema/exist")):
        return {}
    rows = await connection.fetch(sqlfiles.statement("schema/migrations"))
    return {row["number"]: (row["name"], row["sha256"]) for row in rows}


async def _pending(connection: database.Connection) -> list[tuple[int, str, str]]:
    files = sqlfiles.migrations()
    applied = await _applied(connection)
    newest = files[-1][0]
    if applied and max(applied) > newest:
        raise database.newer(max(applied), newest)
    for number, name, text in files:
        if number in applied and applied[number][1] != _hash(text):
            raise DatabaseError(
                f"Migration {name} was changed after it had been applied",
                hint="restore the file; a change needs a migration of its own",
            )
    return [entry for entry in files if entry[0] not in applied]


async def _apply(connection: database.Connection, number: int, name: str, text: str) -> None:
    try:
        async with connection.transaction():
            await connection.execute(text)
            await connection.execute(sqlfiles.statement("schema/record_migration"), number, name, _hash(text))
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"Migration {name} failed and was rolled back: {database.explain(error)}") from None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
