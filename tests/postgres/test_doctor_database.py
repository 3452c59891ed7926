"""The doctor's findings on a database, on every supported version of PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from meeta_bot import doctor, settings
from meeta_bot.doctor import Examination, Level, Result
from tests.stack.postgres import Server

DATABASE = [check for check in doctor.HERE if check.group == "database"]
NAMES = [check.name for check in DATABASE]


async def look(url: str | None, **options: Any) -> dict[str, Result]:
    """Return the result of each check of the database, by name."""
    given = {"database_url": url, **options}
    examination = Examination(given, None, None)
    examination.settings = settings.load(given)
    checks = [check for check in doctor.HERE if check.group == "database" or check.name == "settings"]
    found = {result.name: result async for result in doctor.examine(examination, checks)}
    assert found.pop("settings").level is not Level.FAILED
    return found


def statuses(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.level.value for name, result in results.items()}


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def tables(url: str) -> Sequence[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(
            "SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        )
    finally:
        await connection.close()


async def test_a_database_that_fits_is_fine_in_every_respect(database_url: str, server: Server) -> None:
    results = await look(database_url)
    assert statuses(results) == dict.fromkeys(NAMES, "ok")
    assert results["PostgreSQL"].found.startswith(f"version {server.version}.")
    assert "4 months" in results["partitions"].found


async def test_an_empty_database_is_left_empty(empty_url: str) -> None:
    before = await tables(empty_url)
    results = await look(empty_url)
    assert await tables(empty_url) == before
    assert statuses(results) == {
        "PostgreSQL": "ok",
        "schema": "note",
        "rights": "ok",
        "partitions": "not_checked",
        "quarantine": "not_checked",
        "server clock": "ok",
    }
    assert "may create the schema" in results["rights"].found


async def test_a_newer_schema_is_a_failure_and_an_older_one_is_none(own_database_url: str) -> None:
    await execute(
        own_database_url, "INSERT INTO meeta.migrations (number, name, sha256) VALUES (9999, '9999_later', '')"
    )
    result = (await look(own_database_url))["schema"]
    assert (result.level, result.exit_code) == (Level.FAILED, 4)
    assert "9999" in result.found
    assert "newer meeta-bot" in (result.hint or "")
    await execute(
        own_database_url,
        "UPDATE meeta.migrations SET number = 0 WHERE number = 1; DELETE FROM meeta.migrations WHERE number > 0",
    )
    result = (await look(own_database_url))["schema"]
    assert result.level is Level.WARNING
    assert "db upgrade" in (result.hint or "")


async def test_a_view_that_another_version_made(own_database_url: str) -> None:
    other = "UPDATE meeta.definitions SET sha256 = '', program_version = '{}' WHERE name = 'views/counts'"
    await execute(own_database_url, other.format("0.0.1"))
    result = (await look(own_database_url))["schema"]
    assert (result.level, result.found) == (Level.WARNING, "not as this program has it: views/counts")
    assert "db upgrade" in (result.hint or "")
    await execute(own_database_url, other.format("99.0.0"))
    result = (await look(own_database_url))["schema"]
    assert (result.level, result.found) == (Level.FAILED, "views/counts of a newer program")
    assert "newer meeta-bot" in (result.hint or "")


async def test_a_schema_from_before_the_first_release_is_a_failure(own_database_url: str) -> None:
    await execute(own_database_url, "UPDATE meeta.migrations SET name = '0001_initial'")
    result = (await look(own_database_url))["schema"]
    assert (result.level, result.exit_code) == (Level.FAILED, 4)
    assert "meeta_before" in (result.hint or "")


async def test_a_migration_that_was_changed_after_it_was_applied_is_a_failure(own_database_url: str) -> None:
    await execute(own_database_url, "UPDATE meeta.migrations SET sha256 = '' WHERE number = 1")
    result = (await look(own_database_url))["schema"]
    assert (result.level, "0001_tables" in result.found) == (Level.FAILED, True)


@asynccontextmanager
async def role(url: str, name: str, *grants: str) -> AsyncIterator[str]:
    """Yield the address of `url` for a role that has only `grants`, which is gone afterwards."""
    await execute(url, f"CREATE ROLE {name} LOGIN", *(grant.format(role=name) for grant in grants))
    try:
        yield url.replace("user=meeta", f"user={name}")
    finally:
        await execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_missing_rights_are_told_one_after_the_other(own_database_url: str) -> None:
    url = own_database_url
    async with role(url, "doctor_a") as poor:
        results = await look(poor)
        assert (results["rights"].level, results["rights"].found) == (
            Level.FAILED,
            "doctor_a may not use the schema meeta",
        )
    async with role(url, "doctor_a", "GRANT USAGE ON SCHEMA meeta TO {role}") as poor:
        rights = (await look(poor))["rights"]
        assert rights.level is Level.FAILED
        assert all(table in rights.found for table in ("captures", "events", "meetings", "migrations", "visits"))
    grants = ("GRANT USAGE ON SCHEMA meeta TO {role}", "GRANT ALL ON ALL TABLES IN SCHEMA meeta TO {role}")
    async with role(url, "doctor_a", *grants) as writer:
        results = await look(writer)
        assert results["rights"].level is Level.WARNING
        assert "partitions" in results["rights"].found
        assert {status for name, status in statuses(results).items() if name != "rights"} == {"ok"}


async def test_a_right_to_change_counts_table_by_table(own_database_url: str) -> None:
    grants = (
        "GRANT USAGE ON SCHEMA meeta TO {role}",
        "GRANT ALL ON ALL TABLES IN SCHEMA meeta TO {role}",
        "REVOKE DELETE ON meeta.visits FROM {role}",
        "REVOKE INSERT ON meeta.quarantine FROM {role}",
    )
    async with role(own_database_url, "doctor_b", *grants) as poor:
        assert (await look(poor))["rights"].found == "doctor_b may not write quarantine, visits"


async def test_a_role_that_may_not_create_the_schema_is_told_where_there_is_none(empty_url: str) -> None:
    async with role(empty_url, "doctor_c") as poor:
        result = (await look(poor))["rights"]
    assert (result.level, "may not create the schema" in result.found) == (Level.FAILED, True)


async def test_a_role_that_only_reads_is_told(own_database_url: str) -> None:
    grants = ("ALTER ROLE {role} SET default_transaction_read_only = on", "GRANT pg_read_all_data TO {role}")
    async with role(own_database_url, "doctor_d", *grants) as reader:
        result = (await look(reader))["rights"]
    assert (result.level, "read-only" in result.found) == (Level.FAILED, True)


async def test_missing_months_are_named(own_database_url: str) -> None:
    connection = await asyncpg.connect(own_database_url)
    try:
        month = await connection.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')")
    finally:
        await connection.close()
    await execute(own_database_url, f"DROP TABLE meeta.events_{month}")
    result = (await look(own_database_url))["partitions"]
    assert result.level is Level.WARNING
    assert f"missing: {month.replace('_', '-')}" in result.found


async def test_what_is_in_quarantine_is_a_warning(own_database_url: str) -> None:
    await execute(
        own_database_url,
        "INSERT INTO meeta.quarantine (capture_id, seq, kind, digest, reason, sealed)"
        " VALUES ('a', 1, 'refused', '', 'x', ''), ('a', 2, 'refused', '', 'x', ''), ('a', 1, 'conflict', '', 'x', '')",
    )
    result = (await look(own_database_url))["quarantine"]
    assert result.level is Level.WARNING
    assert result.found.startswith("2 events refused by PostgreSQL, 1 in conflict")


@pytest.mark.parametrize(
    ("off_ms", "status"), [(-100, "ok"), (5_000, "warning"), (-5_000, "warning"), (2 * 86_400_000, "failed")]
)
async def test_clocks_that_differ_are_told(
    database_url: str, off_ms: int, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meeta_bot.clock import SystemClock

    wall_ms = SystemClock.wall_ms
    monkeypatch.setattr(SystemClock, "wall_ms", lambda self: wall_ms(self) + off_ms)
    result = (await look(database_url))["server clock"]
    assert result.level == status
    if status != "ok":
        assert ("ahead of" if off_ms > 0 else "behind") in result.found


async def test_no_database_stops_the_other_checks_and_shows_no_password(server: Server) -> None:
    results = await look("postgresql://alice:s3cr3t@127.0.0.1:1/meeta")
    assert statuses(results) == {"PostgreSQL": "failed", **dict.fromkeys(NAMES[1:], "not_checked")}
    assert "s3cr3t" not in repr(results)
    results = await look(server.url("no_such_database"))
    assert "no_such_database" in results["PostgreSQL"].found


async def test_a_wrong_password_is_told_without_it(own_database_url: str, server: Server) -> None:
    rules = server.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    async with role(own_database_url, "doctor_e", "ALTER ROLE {role} PASSWORD 'right'") as url:
        try:
            rules.write_text(f"local all doctor_e scram-sha-256\n{before}")
            await execute(own_database_url, "SELECT pg_reload_conf()")
            results = await look(url.replace("postgresql:///", "postgresql://doctor_e:wr0ng@/"))
        finally:
            rules.write_text(before)
            await execute(own_database_url, "SELECT pg_reload_conf()")
    result = results["PostgreSQL"]
    assert result.level is Level.FAILED
    assert "password" in (result.hint or "")
    assert "wr0ng" not in repr(results)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Yield the address of a TCP server that says `answer` to everybody, whatever they want."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"postgresql://u:hush@127.0.0.1:{listening.sockets[0].getsockname()[1]}/d"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff" * 64, b""])
async def test_what_is_no_postgresql_is_told_as_that(answer: bytes) -> None:
    async with answering(answer) as url:
        result = (await look(url))["PostgreSQL"]
    assert result.level is Level.FAILED
    assert result.hint
    assert "hush" not in repr(result)


async def test_the_embedded_server_is_not_made_for_a_look() -> None:
    with tempfile.TemporaryDirectory(prefix="meeta-test-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - as root, the embedded PostgreSQL runs as another user
        results = await look(None, data_directory=f"{folder}/data")
        assert os.listdir(folder) == []  # noqa: PTH208
    assert statuses(results) == {"PostgreSQL": "note", **dict.fromkeys(NAMES[1:], "not_checked")}
    assert "will be created at first use" in results["PostgreSQL"].found


@pytest.mark.as_root
async def test_a_place_that_the_embedded_server_s_user_can_not_enter_is_told_before_it_is_made() -> None:
    with tempfile.TemporaryDirectory(prefix="meeta-test-") as folder:  # which only root can enter
        result = (await look(None, data_directory=f"{folder}/data"))["PostgreSQL"]
    assert (result.level, result.found.endswith(f"who can't enter {folder}")) == (Level.FAILED, True)
    assert "MEETA_DATA_DIRECTORY" in (result.hint or "")
