"""The schema: made, made again, by many at once, refused when it must be, and what is said of wrong databases."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import asyncpg
import pytest

from meeta_bot import clock, settings
from meeta_bot.database import migrations, sqlfiles
from meeta_bot.errors import DatabaseError, DatabaseNewer, DatabaseUnreachable
from tests.stack.postgres import fetch

SETTINGS = settings.load({"database_connect_timeout": 2})
NAMES = [name for _, name, _ in sqlfiles.migrations()]


class OffClock(clock.SystemClock):
    """A clock that is wrong by some hours."""

    def __init__(self, hours: int) -> None:
        self._off = hours * 3600 * 1000

    def wall_ms(self) -> int:
        return super().wall_ms() + self._off


async def test_upgrade_applies_all_and_then_nothing(empty_url: str) -> None:
    assert await migrations.upgrade(empty_url, SETTINGS) == NAMES
    assert await migrations.upgrade(empty_url, SETTINGS) == []
    assert await migrations.status(empty_url, SETTINGS) == migrations.SchemaStatus(NAMES, [], [], [])


async def test_status_of_an_empty_database_changes_nothing(empty_url: str) -> None:
    assert await migrations.status(empty_url, SETTINGS) == migrations.SchemaStatus([], NAMES, [], [])
    assert await fetch(empty_url, "SELECT FROM pg_namespace WHERE nspname = 'meeta'") == []


async def test_concurrent_upgrades_apply_each_migration_once(empty_url: str) -> None:
    done = await asyncio.gather(*(migrations.upgrade(empty_url, SETTINGS) for _ in range(5)))
    assert sorted(name for names in done for name in names) == NAMES


async def test_partitions_are_made_ahead(empty_url: str) -> None:
    await migrations.upgrade(empty_url, settings.load({"partition_months_ahead": 5}))
    partitions = await fetch(
        empty_url, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'meeta.events'::regclass"
    )
    assert len(partitions) == 6


async def test_everything_has_a_comment(database_url: str) -> None:
    undocumented = """
        SELECT c.relname, a.attname FROM pg_class c
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind <> 'v'
        WHERE c.relnamespace = 'meeta'::regnamespace AND c.relkind IN ('r', 'p', 'v')
        AND (obj_description(c.oid) IS NULL AND NOT c.relispartition
             OR a.attname IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL)"""
    assert await fetch(database_url, undocumented) == []


async def test_newer_database_is_refused(own_database_url: str) -> None:
    await fetch(own_database_url, "INSERT INTO meeta.migrations (number, name, sha256) VALUES (9999, '9999_later', '')")
    with pytest.raises(DatabaseNewer):
        await migrations.upgrade(own_database_url, SETTINGS)
    assert (await migrations.status(own_database_url, SETTINGS)).unknown == ["9999_later"]


async def test_changed_file_is_refused(own_database_url: str) -> None:
    await fetch(own_database_url, "UPDATE meeta.migrations SET sha256 = 'other'")
    with pytest.raises(DatabaseError, match="was changed after"):
        await migrations.upgrade(own_database_url, SETTINGS)
    assert (await migrations.status(own_database_url, SETTINGS)).changed == NAMES


async def test_failing_migration_is_rolled_back_whole(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (9000, "9000_broken", "CREATE TABLE meeta.half (); SELECT 1 / 0;")
    real = sqlfiles.migrations()
    monkeypatch.setattr(sqlfiles, "migrations", lambda: [*real, broken])
    with pytest.raises(DatabaseError, match="9000_broken failed, and the whole upgrade was rolled back: division by"):
        await migrations.upgrade(empty_url, SETTINGS)
    assert await fetch(empty_url, "SELECT FROM pg_namespace WHERE nspname = 'meeta'") == []
    assert (await migrations.status(empty_url, SETTINGS)).pending == [*NAMES, "9000_broken"]


@pytest.mark.parametrize("hours", [-30, 30])
async def test_host_clock_far_off_is_refused(empty_url: str, hours: int) -> None:
    with pytest.raises(DatabaseError, match="30 hours"):
        await migrations.upgrade(empty_url, SETTINGS, OffClock(hours))


async def test_waiting_for_another_upgrade_is_bounded(empty_url: str) -> None:
    other = await asyncpg.connect(empty_url)
    try:
        await other.execute(sqlfiles.statement("schema/lock"))
        with pytest.raises(DatabaseUnreachable, match="lock"):
            await migrations.upgrade(empty_url, settings.load({"database_statement_timeout": 0.1}))
    finally:
        await other.close()


async def test_missing_database_and_strange_addresses(empty_url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable, match="does not exist"):
        await migrations.status(empty_url.replace("/test_", "/no_test_"), SETTINGS)
    with pytest.raises(DatabaseUnreachable, match="Nothing listens"):
        await migrations.status(f"postgresql:///meeta?host={tmp_path}", SETTINGS)
    with pytest.raises(DatabaseUnreachable, match="Host not found for"):
        await migrations.status("postgresql://nobody:hunter2@nowhere.invalid/meeta", SETTINGS)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hunter2@localhost/meeta",
        "postgresql://me@localhost:hunter2/meeta",
        "postgresql://me:12/hunter2@127.0.0.1/meeta",
        "postgresql://me:hunter2@127.0.0.1:1/meeta",
        "postgresql://127.0.0.1:1/meeta?user=me&password=hunter2",
        "hunter2",
    ],
)
async def test_no_part_of_a_password_is_ever_shown(url: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        await migrations.upgrade(url, SETTINGS)
    assert "hunter2" not in f"{caught.value}{caught.value.hint}{caught.value.__cause__}"


async def test_refused_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DatabaseUnreachable, match=f"Nothing listens at 127.0.0.1:{port}/meeta") as caught:
        await migrations.upgrade(f"postgresql://me:hunter2@127.0.0.1:{port}/meeta", SETTINGS)
    assert "hunter2" not in str(caught.value)


async def test_server_that_is_no_postgresql() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    web = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with web:
        port = web.sockets[0].getsockname()[1]
        for options in ("", "?sslmode=disable"):
            with pytest.raises(DatabaseUnreachable) as caught:
                await migrations.upgrade(f"postgresql://me:hunter2@127.0.0.1:{port}/meeta{options}", SETTINGS)
            assert "hunter2" not in f"{caught.value}{caught.value.hint}"


async def test_server_that_never_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(DatabaseUnreachable, match="No answer"):
            await migrations.upgrade(
                f"postgresql://me@127.0.0.1:{port}/meeta", settings.load({"database_connect_timeout": 0.1})
            )
