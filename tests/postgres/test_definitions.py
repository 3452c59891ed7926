"""Functions and views: created in order, applied anew when they changed, together with migrations or not at all.

A database that went through all releases is held against a fresh one, for the program as it is and for a made-up next
one.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import asyncpg
import pytest

from meeta_bot import database, settings
from meeta_bot.database import migrations, sqlfiles
from meeta_bot.errors import DatabaseError, DatabaseNewer, DatabaseNotMigrated
from tests.postgres.catalog import catalog
from tests.postgres.releases import FORMER, ROOT, install, releases, upgrade
from tests.postgres.samples import ended, joined, seal_all, started
from tests.postgres.tables import derived, write
from tests.stack.postgres import Server, fetch

SETTINGS = settings.load()
CHANGELOG = Path(__file__).parent.parent.parent / "CHANGELOG.md"
COLUMN = "ALTER TABLE meeta.captures ADD COLUMN note text;\nCOMMENT ON COLUMN meeta.captures.note IS 'Made up.';\n"


async def require(url: str) -> None:
    """What readers and recorders do when they connect."""
    connection = await asyncpg.connect(url)
    try:
        await database.require_schema(connection)
    finally:
        await connection.close()


class Next:
    """The next release, being worked on: files of ``sql/`` that can be edited, and those of before that are kept."""

    def __init__(self, folder: Path, number: int = 0) -> None:
        self.root, self.former = folder / f"sql{number}", folder / f"former{number}"
        shutil.copytree(ROOT, self.root)
        self.former.mkdir()
        if FORMER.is_dir():
            shutil.copytree(FORMER, self.former, dirs_exist_ok=True)
        self.last = sqlfiles.migrations(self.root)[-1][0]

    def migrate(self, text: str) -> None:
        """Add a migration."""
        (self.root / "migrations" / f"{self.last + 1:04}_made_up.sql").write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Put `new` in the place of `old` in a function or view."""
        file = self.root / f"{name}.sql"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def keep(self, name: str) -> None:
        """Keep a function or view as it is before the migration."""
        file = self.former / f"{self.last:04}" / f"{name}.sql"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.root / f"{name}.sql", file)


@pytest.fixture
def following(tmp_path: Path) -> Next:
    """A next release that is still as this one."""
    return Next(tmp_path)


def with_note(following: Next) -> None:
    """A migration, a view that shows what it brings, and a function with another body."""
    following.migrate(COLUMN)
    following.keep("views/counts")
    following.edit("views/counts", "counted.events\n", "counted.events, capture.note\n")
    following.edit("functions/span", "from_ms < to_ms", "to_ms > from_ms")


async def stepwise_and_fresh(server: Server, following: Next, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Addresses of a database that was upgraded release by release, and of one that is new."""
    stepwise, fresh = await server.empty_database(), await server.empty_database()
    steps = releases(following.root, following.former)
    for release in steps:
        await upgrade(stepwise, release, monkeypatch)
    await upgrade(fresh, steps[-1], monkeypatch)
    return stepwise, fresh


# --- all releases, one after the other --------------------------------------------------------------------------------


async def test_upgraded_step_by_step_is_the_same_as_fresh(
    server: Server, following: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepwise, fresh = await stepwise_and_fresh(server, following, monkeypatch)
    assert await catalog(stepwise) == await catalog(fresh)
    assert (await catalog(fresh))["functions"] != []


async def test_the_same_with_a_next_migration(server: Server, following: Next, monkeypatch: pytest.MonkeyPatch) -> None:
    with_note(following)
    stepwise, fresh = await stepwise_and_fresh(server, following, monkeypatch)
    found = await catalog(stepwise)
    assert found == await catalog(fresh)
    assert "capture.note" in next(row["view"] for row in found["relations"] if row["relname"] == "counts")
    assert len(found["migrations"]) == following.last + 1


async def test_a_next_migration_that_forgets_to_drop_is_found(
    server: Server, following: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.migrate(COLUMN)
    following.keep("functions/uuid_or_null")
    following.edit("functions/uuid_or_null", "uuid_or_null(value text)", "uuid_or_null(value varchar)")
    following.edit("functions/uuid_or_null", "uuid_or_null(text)", "uuid_or_null(varchar)")
    stepwise, fresh = await stepwise_and_fresh(server, following, monkeypatch)
    assert len((await catalog(stepwise))["functions"]) == len((await catalog(fresh))["functions"]) + 1


async def test_a_next_migration_that_keeps_nothing_of_before_is_found(
    server: Server, following: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.migrate(COLUMN)
    following.edit("views/counts", "counted.events\n", "counted.events, capture.note\n")
    with pytest.raises(DatabaseError, match=r"views/counts failed.*note"):
        await stepwise_and_fresh(server, following, monkeypatch)


# --- one upgrade ------------------------------------------------------------------------------------------------------


async def test_an_edited_definition_is_noticed_and_applied_alone(
    own_database_url: str, following: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {row["name"]: row for row in await fetch(own_database_url, "SELECT * FROM meeta.definitions")}
    following.edit("views/counts", "How many.", "How many there are.")
    install(releases(following.root, following.former)[-1], monkeypatch)
    assert (await migrations.status(own_database_url, SETTINGS)).pending == ["views/counts"]
    with pytest.raises(DatabaseNotMigrated, match="not as this program has them: views/counts") as caught:
        await require(own_database_url)
    assert caught.value.hint == "run `meeta-bot db upgrade`"
    assert await migrations.upgrade(own_database_url, SETTINGS) == ["views/counts"]
    after = {row["name"]: row for row in await fetch(own_database_url, "SELECT * FROM meeta.definitions")}
    assert [name for name, row in after.items() if row != before[name]] == ["views/counts"]
    assert (await migrations.status(own_database_url, SETTINGS)).pending == []
    await require(own_database_url)


async def test_rights_on_views_survive(own_database_url: str, following: Next, monkeypatch: pytest.MonkeyPatch) -> None:
    with_note(following)
    await fetch(own_database_url, "CREATE ROLE reader_of_counts")
    try:
        await fetch(own_database_url, "GRANT SELECT ON meeta.counts, meeta.participants TO reader_of_counts")
        await upgrade(own_database_url, releases(following.root, following.former)[-1], monkeypatch)
        granted = "SELECT has_table_privilege('reader_of_counts', 'meeta.{}', 'SELECT') AS still"
        for view in ("counts", "participants"):
            assert await fetch(own_database_url, granted.format(view)) == [{"still": True}]
    finally:
        await fetch(own_database_url, "DROP OWNED BY reader_of_counts")
        await fetch(own_database_url, "DROP ROLE reader_of_counts")


@pytest.mark.parametrize("has_schema", [True, False])
async def test_a_definition_that_fails_rolls_back_all(
    server: Server, following: Next, monkeypatch: pytest.MonkeyPatch, has_schema: bool
) -> None:
    url = await (server.migrated_database() if has_schema else server.empty_database())
    before = await catalog(url) if has_schema else None
    following.migrate(COLUMN)
    following.edit("functions/span", "from_ms < to_ms", "to_ms > from_ms")
    following.edit("views/timeline", "event.payload, event.initial", "event.no_such_column, event.initial")
    with pytest.raises(DatabaseError, match=r"views/timeline failed, and the whole upgrade was rolled back: .*no_such"):
        await upgrade(url, releases(following.root, following.former)[-1], monkeypatch)
    if before is None:
        assert await fetch(url, "SELECT FROM pg_namespace WHERE nspname = 'meeta'") == []
    else:
        assert await catalog(url) == before


async def test_what_a_migration_takes_along_comes_back(
    own_database_url: str, following: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await catalog(own_database_url)
    following.migrate("DROP FUNCTION meeta.was_inferred(uuid, bigint, text) CASCADE;")
    await upgrade(own_database_url, releases(following.root, following.former)[-1], monkeypatch)
    after = await catalog(own_database_url)
    assert [name for name in after if after[name] != before[name]] == ["migrations"]


async def test_what_a_migration_takes_away_is_forgotten(
    own_database_url: str, following: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.migrate("DROP VIEW meeta.counts;")
    (following.root / "views/counts.sql").unlink()
    await upgrade(own_database_url, releases(following.root, following.former)[-1], monkeypatch)
    assert await fetch(own_database_url, "SELECT FROM meeta.definitions WHERE name = 'views/counts'") == []
    await require(own_database_url)


# --- definitions of others --------------------------------------------------------------------------------------------


async def test_a_definition_of_a_newer_program_is_left_alone(own_database_url: str) -> None:
    later = "UPDATE meeta.definitions SET sha256 = 'later', program_version = $1 WHERE name = 'views/counts'"
    await fetch(own_database_url, later, "0.10.0")
    before = await catalog(own_database_url)
    assert (await migrations.status(own_database_url, SETTINGS)).unknown == ["views/counts"]
    for refused in (require(own_database_url), migrations.upgrade(own_database_url, SETTINGS)):
        with pytest.raises(DatabaseNewer, match="of a newer program: views/counts") as caught:
            await refused
        assert caught.value.hint == "install a newer meeta-bot"
    assert await catalog(own_database_url) == before
    await fetch(own_database_url, later, "0.0.9")
    assert await migrations.upgrade(own_database_url, SETTINGS) == ["views/counts"]


async def test_a_definition_that_this_program_does_not_know_is_no_obstacle(own_database_url: str) -> None:
    await fetch(own_database_url, "INSERT INTO meeta.definitions VALUES ('views/later', '', '99.0.0')")
    await require(own_database_url)
    assert await migrations.upgrade(own_database_url, SETTINGS) == []
    assert len(await fetch(own_database_url, "SELECT FROM meeta.definitions WHERE name = 'views/later'")) == 1


@pytest.mark.parametrize("loss", ["DELETE FROM meeta.definitions", "DROP TABLE meeta.definitions"])
async def test_lost_books_are_written_again(own_database_url: str, loss: str) -> None:
    await fetch(own_database_url, loss)
    with pytest.raises(DatabaseNotMigrated, match=r"and \d+ more"):
        await require(own_database_url)
    assert len(await migrations.upgrade(own_database_url, SETTINGS)) == len(sqlfiles.definitions())


async def test_each_definition_names_what_it_builds_on(empty_url: str) -> None:
    await migrations.upgrade(empty_url, SETTINGS)
    known = {definition.name: definition for definition in sqlfiles.definitions()}
    drop = "DROP SCHEMA meeta CASCADE"
    connection = await asyncpg.connect(empty_url)
    try:
        await connection.execute(drop)
        await connection.execute(sqlfiles.statement("schema/prepare"))
        for _, _, text in sqlfiles.migrations():
            await connection.execute(text)
        for name in known:
            needed = {name}
            while more := {other for one in needed for other in sqlfiles.after(known[one])} - needed:
                needed |= more
            transaction = connection.transaction()
            await transaction.start()
            for definition in sqlfiles.definitions():
                if definition.name in needed:
                    await connection.execute(definition.text)
            await transaction.rollback()
    finally:
        await connection.close()


# --- from before the first release ------------------------------------------------------------------------------------


async def before_the_first(url: str) -> None:
    """Make a database look as one that the five migrations of before made."""
    await fetch(url, "DROP TABLE meeta.definitions")
    await fetch(url, "DELETE FROM meeta.migrations")
    for number, name in enumerate(database.schema._BEFORE_FIRST, 1):
        await fetch(url, "INSERT INTO meeta.migrations (number, name, sha256) VALUES ($1, $2, '')", number, name)


async def test_a_schema_from_before_the_first_release_is_refused(own_database_url: str) -> None:
    await before_the_first(own_database_url)
    rows = "SELECT * FROM meeta.migrations ORDER BY number"
    before = await fetch(own_database_url, rows)
    for refused in (
        require(own_database_url),
        migrations.upgrade(own_database_url, SETTINGS),
        migrations.status(own_database_url, SETTINGS),
        migrations.rebuild(own_database_url, SETTINGS),
    ):
        with pytest.raises(DatabaseNotMigrated, match=r"before version 0\.1\.0's first migration") as caught:
            await refused
        assert "meeta_before" in (caught.value.hint or "")
    assert await fetch(own_database_url, rows) == before
    assert await fetch(own_database_url, "SELECT to_regclass('meeta.definitions') AS made") == [{"made": None}]


async def test_events_from_before_the_first_release_can_be_taken_over(own_database_url: str) -> None:
    await write(own_database_url, seal_all([started(), joined(1000, "a"), ended(9000)]))
    tables = await derived(own_database_url)
    await before_the_first(own_database_url)
    told = CHANGELOG.read_text(encoding="utf-8")
    commands = re.findall(r"`((?:ALTER SCHEMA|SELECT|INSERT INTO|meeta-bot db (?:upgrade|rebuild))[^`]*)`", told)
    for command in commands:
        if command == "meeta-bot db upgrade":
            await migrations.upgrade(own_database_url, SETTINGS)
        elif command == "meeta-bot db rebuild":
            await migrations.rebuild(own_database_url, SETTINGS)
        else:
            await fetch(own_database_url, command)
    assert len(commands) == 6
    assert await derived(own_database_url) == tables
    assert len(tables["visits"]) == 1
