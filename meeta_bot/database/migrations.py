"""Changes of a schema: upgrade it, tell its state, rebuild the derived tables.

A schema is made of two kinds of plain SQL files. Those of ``sql/migrations`` are for tables and data: each is applied
once, in the order of their numbers, and never changes again. Those of ``sql/functions`` and ``sql/views`` say CREATE OR
REPLACE, and each is applied anew when its text is another than the last time; after a migration all are, for it may
have dropped some. An upgrade is one transaction, under an advisory lock that any number of processes may wait for:
whoever reads meanwhile sees the schema of before, and what fails leaves nothing behind.

What REPLACE can't do (other arguments or results of a function, other columns of a view than more at the end, taking
one away) needs a migration that drops the old one. With a view go the rights that were granted on it, so a migration
that only needs to drop what a view builds on lets the view select nulls of the same types meanwhile.

Which files were applied stands in meeta.migrations and meeta.definitions, with their checksums. Whether a schema fits
is decided by these alone:

- A migration that this program doesn't know, or a function or view that it has otherwise and that a newer version has
  applied: the schema is newer. Nothing is read, written or upgraded, so that an old program never undoes what a newer
  one did.
- A migration that is missing, or a function or view that is missing or was applied otherwise by the same or an older
  version: the schema is older. Readers and recorders refuse it, an upgrade mends it.
- A function or view that this program doesn't know is no obstacle: what it does know is as it should be.
- Migrations from before the first release: refused, and nothing is touched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import msgspec

from meeta_bot import __version__, database
from meeta_bot.clock import Clock, SystemClock
from meeta_bot.database import sqlfiles
from meeta_bot.errors import DatabaseError, DatabaseUnreachable
from meeta_bot.settings import Settings

CLOCK_TOLERANCE_MS = 24 * 3600 * 1000  # capture ids carry the host's time; beyond it they land in wrong partitions
REBUILD_CHUNK = 5000  # events a statement
_BEFORE_ALL = UUID(int=0)


class SchemaStatus(msgspec.Struct, frozen=True):
    """State of a schema: names of files, in order.

    ``pending`` are those that an upgrade applies: migrations, which bring all functions and views along, else the
    functions and views that differ. ``unknown`` are of a newer program. ``changed`` are migrations whose files differ
    from what was applied.
    """

    applied: list[str]
    pending: list[str]
    unknown: list[str]
    changed: list[str]


async def upgrade(url: str, settings: Settings, clock: Clock | None = None) -> list[str]:
    """Bring the schema up to date and create partitions ahead; return what was applied, named as in `SchemaStatus`.

    :raises DatabaseUnreachable: it can't be reached, or another upgrade holds the lock for too long.
    :raises DatabaseNewer: the schema is newer than this program.
    :raises DatabaseNotMigrated: the schema is from before the first release.
    :raises DatabaseError: an applied file was changed, a statement failed, or this host's clock is far off.
    """
    async with _connected(url, settings, "upgrade") as connection:
        await _refuse_wrong_clock(connection, clock or SystemClock())
        await _lock(connection)
        pending = _pending(await _applied(connection))
        async with connection.transaction():
            await connection.execute(sqlfiles.statement("schema/prepare"))
            for number, name, text in pending:
                await _apply(connection, name, text)
                record = sqlfiles.statement("schema/record_migration")
                await connection.execute(record, number, name, sqlfiles.checksum(text))
            replaced = await _define(connection, all_of_them=bool(pending))
        months = settings.partition_months_ahead + 1
        await connection.execute(sqlfiles.statement("schema/ensure_partitions"), months)
    return [name for _, name, _ in pending] or replaced


async def status(url: str, settings: Settings) -> SchemaStatus:
    """Return what is applied and what is not; changes nothing.

    :raises DatabaseUnreachable: it can't be reached.
    :raises DatabaseNotMigrated: the schema is from before the first release.
    """
    files = sqlfiles.migrations()
    known = {number for number, _, _ in files}
    async with _connected(url, settings, "status") as connection:
        applied = await _applied(connection)
        found = database.Differences([], [])
        if applied.keys() == known:
            found = await database.differences(connection)
    return SchemaStatus(
        applied=[name for name, _ in applied.values()],
        pending=[name for number, name, _ in files if number not in applied] + found.older,
        unknown=[name for number, (name, _) in applied.items() if number not in known] + found.newer,
        changed=_changed(files, applied),
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
    if await database.schema_version(connection) is None:
        return {}
    rows = await connection.fetch(sqlfiles.statement("schema/migrations"))
    return {row["number"]: (row["name"], row["sha256"]) for row in rows}


def _pending(applied: dict[int, tuple[str, bytes]]) -> list[tuple[int, str, str]]:
    files = sqlfiles.migrations()
    newest = files[-1][0]
    if applied and max(applied) > newest:
        raise database.newer(max(applied), newest)
    changed = _changed(files, applied)
    if changed:
        raise DatabaseError(
            f"Migration {changed[0]} was changed after it had been applied",
            hint="restore the file; a change needs a migration of its own",
        )
    return [entry for entry in files if entry[0] not in applied]


def _changed(files: list[tuple[int, str, str]], applied: dict[int, tuple[str, bytes]]) -> list[str]:
    return [name for number, name, text in files if number in applied and applied[number][1] != sqlfiles.checksum(text)]


async def _define(connection: database.Connection, *, all_of_them: bool) -> list[str]:
    """Apply the functions and views that differ, or all; the names of those that were applied."""
    found = await database.differences(connection)
    database.refuse_newer(found)
    due = [one for one in sqlfiles.definitions() if all_of_them or one.name in found.older]
    record = sqlfiles.statement("schema/record_definition")
    for definition in due:
        await _apply(connection, definition.name, definition.text)
        await connection.execute(record, definition.name, definition.sha256, __version__)
    if all_of_them:
        names = [definition.name for definition in due]
        await connection.execute(sqlfiles.statement("schema/forget_definitions"), names)
    return [definition.name for definition in due]


async def _apply(connection: database.Connection, name: str, text: str) -> None:
    try:
        await connection.execute(text)
    except asyncpg.PostgresError as error:
        raise DatabaseError(
            f"{name} failed, and the whole upgrade was rolled back: {database.explain(error)}",
            hint=database.hint(error),
        ) from None
