"""The schema of a database, held against the one that this program knows: migrations, functions and views."""

from __future__ import annotations

import re
from typing import NamedTuple

import asyncpg

from meeta_bot import __version__
from meeta_bot.database import sqlfiles
from meeta_bot.database.connection import TROUBLE, UPGRADE_HINT, Connection, trouble
from meeta_bot.errors import DatabaseNewer, DatabaseNotMigrated

NEWER_HINT = "install a newer meeta-bot"
# Migrations from before there was a release. One took the place of all, and can't be applied where they were.
_BEFORE_FIRST = ["0001_initial", "0002_reading_views", "0003_faster_delivery", "0004_fast_reading", "0005_gaps_shown"]
_NAMED = 3  # functions and views in a message


class Differences(NamedTuple):
    """Names of functions and views that are not as this program has them: ``newer`` are those of a newer program."""

    older: list[str]
    newer: list[str]


async def schema_version(connection: Connection) -> int | None:
    """Return the number of the newest migration that was applied; None without a schema.

    :raises DatabaseNotMigrated: the schema is from before the first release.
    :raises DatabaseError: this user may not read it, or the server went away.
    """
    try:
        row = await connection.fetchrow(sqlfiles.statement("schema/version"), _BEFORE_FIRST)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    except TROUBLE as error:
        raise trouble(error) from None
    assert row is not None  # noqa: S101 (an aggregate is always one row)
    if row["is_from_before"]:
        raise DatabaseNotMigrated(
            "The schema is from before version 0.1.0's first migration",
            hint="ALTER SCHEMA meeta RENAME TO meeta_before, run `meeta-bot db upgrade`, and take its events over as "
            "CHANGELOG.md says",
        )
    version: int | None = row["number"]
    return version


async def differences(connection: Connection) -> Differences:
    """Return which functions and views of the schema are not as this program has them, or are missing.

    :raises DatabaseError: this user may not look, or the server went away.
    """
    try:
        rows = await connection.fetch(sqlfiles.statement("schema/definitions"))
    except asyncpg.UndefinedTableError:  # an upgrade makes it again
        rows = []
    except TROUBLE as error:
        raise trouble(error) from None
    applied = {row["name"]: (row["sha256"], row["program_version"]) for row in rows}
    found = Differences([], [])
    for definition in sqlfiles.definitions():
        sha256, version = applied.get(definition.name, (b"", ""))
        if sha256 != definition.sha256:
            (found.newer if _release(version) > _release(__version__) else found.older).append(definition.name)
    return found


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


async def require_schema(connection: Connection) -> None:
    """Check that the schema is the one this program knows.

    :raises DatabaseNotMigrated: it is missing or older, or a function or view of it is.
    :raises DatabaseNewer: it is newer, or a function or view of it is.
    :raises DatabaseError: this user may not read it, or the server went away.
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
    found = await differences(connection)
    refuse_newer(found)
    if found.older:
        raise DatabaseNotMigrated(
            f"Parts of the schema are not as this program has them: {some(found.older)}", hint=UPGRADE_HINT
        )


def newer(version: int, known: int) -> DatabaseNewer:
    """Return the error for a schema that this program doesn't know yet."""
    return DatabaseNewer(f"The schema is at migration {version}, this program knows only {known}", hint=NEWER_HINT)


def refuse_newer(found: Differences) -> None:
    """Check that no function or view is of a newer program.

    :raises DatabaseNewer: one is.
    """
    if found.newer:
        raise DatabaseNewer(f"Parts of the schema are of a newer program: {some(found.newer)}", hint=NEWER_HINT)


def some(names: list[str]) -> str:
    """Return `names` as part of one line: some of them when they are many."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
