"""A database in trouble: the sink says so in one line, stores nothing, and works again when the trouble is over."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator

import asyncpg
import pytest

from meeta_bot import database, settings
from meeta_bot.database import migrations
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.delivery.sink import Delivery, SinkUnavailable
from meeta_bot.errors import DatabaseNewer, DatabaseNotMigrated, DatabaseUnreachable
from meeta_bot.events import SealedEvent
from meeta_bot.reading import queries
from tests.postgres.samples import small_capture
from tests.postgres.tables import sink
from tests.stack.postgres import Server, fetch

BATCH = small_capture(4)


@contextlib.asynccontextmanager
async def locked_events(url: str) -> AsyncIterator[None]:
    """Nobody else can touch the events."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE meeta.events")
            yield
    finally:
        await connection.close()


async def refusal(target: PostgresSink, batch: list[SealedEvent]) -> str:
    """Why the sink takes nothing; one line."""
    with pytest.raises(SinkUnavailable) as caught:
        await target.write(batch)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_server_goes_away_and_comes_back(fragile: Server, fragile_url: str, how: signal.Signals) -> None:
    async with sink(fragile_url) as target:
        assert await target.write(BATCH[:2]) == Delivery(2, 0, 0)
        fragile.stop(how)
        await refusal(target, BATCH)
        assert "Nothing listens" in await refusal(target, BATCH)
        fragile.start()
        assert await target.write(BATCH) == Delivery(2, 2, 0)


async def test_too_many_connections(fragile: Server, fragile_url: str) -> None:
    fragile.stop()
    fragile.start(max_connections="4", superuser_reserved_connections="0")
    others = [await asyncpg.connect(fragile_url) for _ in range(4)]
    async with sink(fragile_url) as target:
        assert "too many clients" in await refusal(target, BATCH)
        for other in others:
            await other.close()
        for _ in range(100):  # the server takes a moment to notice
            with contextlib.suppress(SinkUnavailable):
                assert await target.write(BATCH) == Delivery(4, 0, 0)
                return
            await asyncio.sleep(0.02)
        pytest.fail("still too many")


async def test_password_is_asked_for_and_never_shown(fragile: Server, fragile_url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    await fragile.execute("ALTER ROLE meeta PASSWORD 'right'")
    access = fragile.directory / "data" / "pg_hba.conf"
    before = access.read_text()
    access.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    try:
        fragile.stop()
        fragile.start(listen_addresses="127.0.0.1", port=port)
        database = fragile_url.split("///")[1].split("?", maxsplit=1)[0]
        with pytest.raises(DatabaseUnreachable, match="does not let us in") as caught:
            await migrations.status(f"postgresql://meeta:hunter2@127.0.0.1:{port}/{database}", settings.load())
        assert "hunter2" not in f"{caught.value}{caught.value.hint}"
        assert (
            await migrations.status(f"postgresql://meeta:right@127.0.0.1:{port}/{database}", settings.load())
        ).applied
    finally:
        access.write_text(before)


@pytest.mark.parametrize("wanted", ["any", "read-write", "primary", "prefer-standby"])
async def test_a_reader_takes_the_kind_of_server_that_the_address_wants(own_database_url: str, wanted: str) -> None:
    url = f"{own_database_url}&target_session_attrs={wanted}"
    connection = await database.connect(url, settings.load(), purpose="reader", read_only=True)
    try:
        assert await connection.fetchval("SELECT 1") == 1
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("CREATE TABLE meeta.mine ()")
    finally:
        await connection.close()


async def test_read_only(own_database_url: str) -> None:
    name = own_database_url.split("///")[1].split("?", maxsplit=1)[0]
    await fetch(own_database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with sink(own_database_url) as target:
        assert "read-only transaction" in await refusal(target, BATCH)
        connection = await asyncpg.connect(own_database_url, server_settings={"default_transaction_read_only": "off"})
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await connection.close()
        assert await target.write(BATCH) == Delivery(4, 0, 0)


async def test_schema_missing_then_there(empty_url: str) -> None:
    async with sink(empty_url) as target:
        assert "meeta-bot db upgrade" in await refusal(target, BATCH)
        await migrations.upgrade(empty_url, settings.load())
        assert await target.write(BATCH) == Delivery(4, 0, 0)


async def test_schema_newer(own_database_url: str) -> None:
    await fetch(own_database_url, "INSERT INTO meeta.migrations (number, name, sha256) VALUES (9999, '9999_later', '')")
    async with sink(own_database_url) as target:
        assert "newer meeta-bot" in await refusal(target, BATCH)


async def test_lock_timeout(database_url: str) -> None:
    async with sink(database_url, database_statement_timeout=0.1) as target:
        async with locked_events(database_url):
            assert "timeout" in await refusal(target, BATCH)
        assert await target.write(BATCH) == Delivery(4, 0, 0)


async def test_terminated_session(database_url: str) -> None:
    async with sink(database_url) as target:
        await target.write(BATCH[:1])
        sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'meeta-bot writer'"
        await fetch(database_url, f"{sessions} AND datname = current_database()")
        with contextlib.suppress(SinkUnavailable):
            await target.write(BATCH[:1])
        assert await target.write(BATCH) == Delivery(3, 1, 0)


async def test_cancelled_write_stores_all_or_nothing_and_the_next_one_works(own_database_url: str) -> None:
    async with sink(own_database_url) as target:
        await target.write(BATCH[:1])
        async with locked_events(own_database_url):
            task = asyncio.create_task(target.write(BATCH))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        # A statement that was under way when we let go may still finish.
        assert await target.write(BATCH) in (Delivery(3, 1, 0), Delivery(0, 4, 0))
    assert await fetch(own_database_url, "SELECT event_count FROM meeta.captures") == [{"event_count": 4}]


async def test_missing_table_is_no_reason_to_quarantine(own_database_url: str) -> None:
    await fetch(own_database_url, "ALTER TABLE meeta.captures RENAME TO lost")
    async with sink(own_database_url) as target:
        assert "captures" in await refusal(target, BATCH)
        await fetch(own_database_url, "ALTER TABLE meeta.lost RENAME TO captures")
        assert await target.write(BATCH) == Delivery(4, 0, 0)


async def test_close_twice(database_url: str) -> None:
    target = PostgresSink(database_url, settings.load())
    await target.write(BATCH)
    await target.close()
    await target.close()


async def test_readers_of_wrong_schemas(empty_url: str, own_database_url: str) -> None:
    with pytest.raises(DatabaseNotMigrated) as caught:
        async with queries.reading(empty_url, settings.load()):
            pass
    assert caught.value.hint == "run `meeta-bot db upgrade`"
    await fetch(own_database_url, "INSERT INTO meeta.migrations (number, name, sha256) VALUES (9999, '9999_later', '')")
    with pytest.raises(DatabaseNewer):
        async with queries.reading(own_database_url, settings.load()):
            pass


async def test_reader_whose_server_goes_away(fragile: Server, fragile_url: str) -> None:
    async with queries.reading(fragile_url, settings.load()) as reader:
        fragile.stop()
        with pytest.raises(DatabaseUnreachable):
            await reader.meetings(1)
