"""What becomes of batches: stored once, duplicates known, conflicts and refused rows in quarantine, nothing waits."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from meeta_bot import queries, settings
from meeta_bot.chain import commit
from meeta_bot.events import SealedEvent
from meeta_bot.sinks import Delivery
from tests.postgres.samples import BEGAN_MS, capture_id, joined, seal_all, small_capture, started
from tests.postgres.tables import fetch, sink, write

LONG_NOISE = random.Random(1).randbytes(6000).hex()  # too long and too random for any index


async def test_every_batch_arrives_once(database_url: str) -> None:
    batch = small_capture(10)
    assert await write(database_url, batch[:6], batch[3:], batch, []) == [
        Delivery(6, 0, 0),
        Delivery(4, 3, 0),
        Delivery(0, 10, 0),
        Delivery(0, 0, 0),
    ]
    rows = await fetch(database_url, "SELECT seq, digest FROM meeta.events ORDER BY seq")
    assert [(row["seq"], row["digest"]) for row in rows] == [(event.seq, event.digest) for event in batch]
    assert (await fetch(database_url, "SELECT event_count FROM meeta.captures"))[0]["event_count"] == 10


async def test_repetition_within_a_batch_is_a_duplicate(database_url: str) -> None:
    batch = small_capture(3)
    assert await write(database_url, [*batch, batch[1], batch[2]]) == [Delivery(3, 2, 0)]


async def test_conflicting_digest_is_quarantined_and_the_first_stays(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = small_capture(3)
    other = msgspec.structs.replace(batch[1], digest=bytes(32))
    both = [batch[0], batch[1], other, batch[2]]
    assert await write(database_url, both, both, [other]) == [Delivery(3, 0, 1), Delivery(0, 3, 1), Delivery(0, 0, 1)]
    held = await fetch(database_url, "SELECT kind, seq, digest, reason FROM meeta.quarantine")
    reason = f"stored before with digest {batch[1].digest.hex()}"
    assert held == [{"kind": "conflict", "seq": 2, "digest": bytes(32), "reason": reason}]
    assert (await fetch(database_url, "SELECT digest FROM meeta.events WHERE seq = 2"))[0]["digest"] == batch[1].digest
    assert "quarantined" in capsys.readouterr().out


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param({"payload": '{"text":"\\u0000"}'}, id="nul"),
        pytest.param({"payload": "no json"}, id="no-json"),
        pytest.param({"payload": "[" * 100_000 + "]" * 100_000}, id="too-deep"),
        pytest.param({"endpoint_id": LONG_NOISE}, id="too-long-for-an-index"),
        pytest.param({"room": "\ud800"}, id="lone-surrogate"),
        pytest.param({"origin": "a\0b"}, id="nul-in-text"),
        pytest.param({"occurred_at": 2**62}, id="time-out-of-range"),
        pytest.param({"server_at": -(2**62)}, id="stamp-out-of-range"),
        pytest.param({"monotonic_ms": 2**70}, id="number-too-large"),
    ],
)
async def test_refused_row_leaves_a_placeholder_and_nothing_waits_behind_it(
    database_url: str, poison: dict[str, object]
) -> None:
    batch = small_capture(8)
    batch[4] = msgspec.structs.replace(batch[4], **poison)
    first, again = await write(database_url, batch, batch)
    assert first == Delivery(7, 0, 1)
    # Whether the row is refused once more or known by its digest depends on what PostgreSQL looks at first.
    assert again in (Delivery(0, 7, 1), Delivery(0, 8, 0))

    rows = await fetch(database_url, "SELECT * FROM meeta.events ORDER BY seq")
    assert [row["digest"] for row in rows] == [event.digest for event in batch]
    placeholder = rows[4]
    assert (placeholder["payload"], placeholder["salt"]) == (None, None)
    assert placeholder["commitment"] == batch[4].commitment
    assert placeholder["quarantine_reason"]
    assert [row["seq"] for row in rows if row["quarantine_reason"]] == [5]

    held = await fetch(database_url, "SELECT kind, seq, digest, sealed FROM meeta.quarantine")
    assert [(row["kind"], row["seq"], row["digest"]) for row in held] == [("refused", 5, batch[4].digest)]
    sealed = json.loads(held[0]["sealed"])
    assert sealed[:12] == list(msgspec.structs.astuple(batch[4])[:12])
    assert (await fetch(database_url, "SELECT event_count FROM meeta.captures"))[0]["event_count"] == 8


async def test_sealed_bytes_in_quarantine_are_the_event(database_url: str) -> None:
    event = msgspec.structs.replace(small_capture(1)[0], payload='{"text":"\\u0000"}')
    await write(database_url, [event])
    held = await fetch(database_url, "SELECT sealed FROM meeta.quarantine")
    restored = msgspec.json.decode(held[0]["sealed"], type=SealedEvent)
    assert restored == event
    assert len(commit(restored.salt, restored.payload.encode())) == 32


async def test_many_refused_rows_in_a_batch(database_url: str) -> None:
    batch = small_capture(40)
    bad = {0, 1, 17, 38, 39}
    mixed = [
        msgspec.structs.replace(event, payload='"\\u0000"') if index in bad else event
        for index, event in enumerate(batch)
    ]
    assert await write(database_url, mixed) == [Delivery(35, 0, 5)]
    assert len(await fetch(database_url, "SELECT FROM meeta.events")) == 40


async def test_missing_month_is_made(own_database_url: str) -> None:
    months = [
        datetime(2021, 2, 28, 23, 59, 59, tzinfo=UTC),
        datetime(2021, 3, 1, tzinfo=UTC),
        datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC),
    ]
    for month in months:
        batch = seal_all([started()], capture_id(int(month.timestamp() * 1000)))
        assert await write(own_database_url, batch, batch) == [Delivery(1, 0, 0), Delivery(0, 1, 0)]
    tables = await fetch(
        own_database_url,
        "SELECT relname AS name FROM meeta.events JOIN pg_class ON pg_class.oid = events.tableoid ORDER BY capture_id",
    )
    assert [row["name"] for row in tables] == [
        "events_2021_02",
        "events_2021_03",
        "events_2024_12",
    ]


@pytest.mark.parametrize(
    "make_name",
    [
        pytest.param(lambda: capture_id(int(datetime(2019, 12, 31, 23, tzinfo=UTC).timestamp() * 1000)), id="2019"),
        pytest.param(lambda: capture_id(BEGAN_MS + 800 * 24 * 3600 * 1000), id="in-800-days"),
        pytest.param(lambda: "ffffffff-ffff-4fff-bfff-ffffffffffff", id="no-time"),
        pytest.param(lambda: "no uuid", id="no-uuid"),
    ],
)
async def test_capture_outside_all_months_is_quarantined_without_blocking(
    database_url: str, make_name: Callable[[], str]
) -> None:
    name = make_name()
    strange, good = seal_all([started(), joined(1, "a")], name), small_capture(3)
    batch = [strange[0], *good, strange[1]]
    assert await write(database_url, batch, batch) == [Delivery(3, 0, 2), Delivery(0, 3, 2)]
    held = await fetch(database_url, "SELECT capture_id, seq, digest FROM meeta.quarantine ORDER BY seq")
    assert [(row["capture_id"], row["seq"], row["digest"]) for row in held] == [
        (name, event.seq, event.digest) for event in strange
    ]


async def test_month_that_was_dropped_is_made_again(own_database_url: str) -> None:
    old = int(datetime(2022, 5, 5, tzinfo=UTC).timestamp() * 1000)
    batch = seal_all([started(), joined(1, "a")], capture_id(old))
    async with sink(own_database_url) as target:
        assert await target.write(batch[:1]) == Delivery(1, 0, 0)
        await fetch(own_database_url, "DROP TABLE meeta.events_2022_05")
        assert await target.write(batch) == Delivery(2, 0, 0)


async def test_month_that_is_being_taken_out_stays_out(own_database_url: str) -> None:
    old = int(datetime(2022, 5, 5, tzinfo=UTC).timestamp() * 1000)
    batch = seal_all([started(), joined(1, "a")], capture_id(old))
    async with sink(own_database_url) as target:
        await target.write(batch[:1])
        await fetch(own_database_url, "ALTER TABLE meeta.events DETACH PARTITION meeta.events_2022_05")
        assert await target.write([*batch, *small_capture(2)]) == Delivery(2, 0, 2)


async def test_two_processes_make_the_same_month(own_database_url: str) -> None:
    old = int(datetime(2022, 5, 5, tzinfo=UTC).timestamp() * 1000)
    deliveries = await gather_writes(own_database_url, [seal_all([started()], capture_id(old)) for _ in range(6)])
    assert deliveries == [[Delivery(1, 0, 0)]] * 6


async def gather_writes(url: str, batches: list[list[SealedEvent]]) -> list[list[Delivery]]:
    """Write each batch through a connection of its own, all at once."""
    return await asyncio.gather(*(write(url, batch) for batch in batches))


async def test_large_batch(database_url: str) -> None:
    batch = small_capture(3000)
    assert await write(database_url, batch, batch[::-1]) == [Delivery(3000, 0, 0), Delivery(0, 3000, 0)]
    async with queries.reading(database_url, settings.load()) as reader:
        stored = [row async for row in reader.all_events([batch[0].capture_id])]
    assert [row.digest for row in stored] == [event.digest for event in batch]


@pytest.mark.parametrize("poison", [{"payload": '{"text":"hunter2\\u0000"}'}, {"room": "hunter2\ud800"}])
async def test_reasons_do_not_quote_what_was_said(
    database_url: str, poison: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await write(database_url, [msgspec.structs.replace(small_capture(1)[0], **poison)])
    reasons = await fetch(database_url, "SELECT reason FROM meeta.quarantine")
    assert "hunter2" not in reasons[0]["reason"]
    assert "hunter2" not in capsys.readouterr().out
