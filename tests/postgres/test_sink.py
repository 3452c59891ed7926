"""What only PostgreSQL has: derived counts, refused rows, quarantine, months. The rest is in test_sink_conformance."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from meeta_bot.delivery.sink import Delivery
from meeta_bot.events import SealedEvent
from meeta_bot.events.chain import commit
from tests.postgres.samples import BEGAN_MS, capture_id, joined, seal_all, small_capture, started
from tests.postgres.tables import sink, write
from tests.stack.postgres import fetch

LONG_NOISE = random.Random(1).randbytes(6000).hex()  # too long and too random for any index


async def test_derived_counts_know_every_event_once(database_url: str) -> None:
    batch = small_capture(10)
    await write(database_url, batch[:6], batch[3:], batch)
    assert (await fetch(database_url, "SELECT event_count FROM meeta.captures"))[0]["event_count"] == 10


async def test_quarantine_says_which_digest_was_first(database_url: str) -> None:
    batch = small_capture(3)
    other = msgspec.structs.replace(batch[1], digest=bytes(32))
    await write(database_url, batch, [other])
    held = await fetch(database_url, "SELECT kind, seq, digest, reason FROM meeta.quarantine")
    reason = f"stored before with digest {batch[1].digest.hex()}"
    assert held == [{"kind": "conflict", "seq": 2, "digest": bytes(32), "reason": reason}]


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


@pytest.mark.parametrize("poison", [{"payload": '{"text":"hunter2\\u0000"}'}, {"room": "hunter2\ud800"}])
async def test_reasons_do_not_quote_what_was_said(
    database_url: str, poison: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await write(database_url, [msgspec.structs.replace(small_capture(1)[0], **poison)])
    reasons = await fetch(database_url, "SELECT reason FROM meeta.quarantine")
    assert "hunter2" not in reasons[0]["reason"]
    assert "hunter2" not in capsys.readouterr().out
